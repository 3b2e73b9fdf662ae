"""Feed the frame decoder with broken frames: `python -m tests.fuzz_framing --inputs 10000000`.

Each input is a valid frame, or one of `tests/corpus/framing.txt`, changed at random, and arrives in
random pieces. It must lead to frames or a ProtocolError, and to nothing else. With `--keep`, the
shortest input of each new kind of refusal is added to the corpus.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import (
    MAX_HEADER_BYTES,
    FrameDecoder,
    encode_frame,
    from_worker_decoder,
    to_worker_decoder,
)
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    Heartbeat,
    Hello,
    InvalidRequest,
    Profile,
    ProtocolError,
    Ready,
    ResponseHead,
    SharedSlice,
    SizeWarning,
    SliceReleased,
    TooLarge,
    ToWorker,
    TransferStats,
    encode_profile,
)

CORPUS = Path(__file__).parent / "corpus" / "framing.txt"
PREFIX = struct.Struct(">II")

PROFILE = encode_profile(Profile(impersonate="chrome", proxy="http://127.0.0.1:1"))
STATS = TransferStats(
    connects=1,
    connected_at=0.1,
    handshake_at=0.2,
    first_byte_at=0.3,
    ended_at=0.4,
    bytes_sent=500,
    bytes_received=6000,
    resumed=True,
)
HEAD = ResponseHead(
    id=7,
    status=200,
    protocol="HTTP/2",
    headers=[(b"a", b"b"), (b"c", b"")],
    ip="::1",
    certificate=b"der",
    tls="TLSv1.3",
    stats=STATS,
)
MESSAGES: dict[str, list[ToWorker | FromWorker]] = {
    "to": [
        Hello(profiles=[("default", PROFILE)], max_sessions=64),
        Fetch(
            id=7,
            method="POST",
            url="https://a/",
            headers=[(b"a", b"b"), (b"c", None)],
            profile=PROFILE,
            browser_head=PROFILE,
            cookie=b"a=1",
            referer=b"https://a/",
            timeout_seconds=180.0,
            maxsize_bytes=2**30,
            warnsize_bytes=2**25,
            stream=True,
        ),
        Cancel(7),
        SliceReleased(),
    ],
    "from": [
        Ready(curl="libcurl", max_descriptors=1024),
        Heartbeat(memory_mb=50, descriptors=10),
        HEAD,
        Chunk(7),
        Completed(id=7, stats=STATS, head=HEAD),
        Completed(id=7, stats=STATS, head=HEAD, shared=SharedSlice(0, 10)),
        Failed(id=7, stats=STATS, kind=FailureKind.SYSCALL, code=35, detail="SSL_ERROR_SYSCALL"),
        InvalidRequest(id=7, detail="a header"),
        SizeWarning(id=7, size=10, limit=9, expected=True),
        TooLarge(id=7, stats=STATS, size=10, limit=9, expected=False),
        Cancelled(7),
    ],
}
# What MessagePack has: each kind of value, at the edges of its sizes.
TOKENS = [
    b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\x00", b"\x7f", b"\xff", b"\xe0", b"\x80", b"\x8f",
    b"\x90", b"\x9f", b"\xa0", b"\xbf", b"\xc4\x00", b"\xc4\xff", b"\xc6\xff\xff\xff\xff",
    b"\xc7\x01\x01x", b"\xca\x7f\x80\x00\x00", b"\xcb\x7f\xf0" + bytes(6), b"\xcb\xff" * 4,
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xd4\x01x", b"\xd9\xff",
    b"\xdb\xff\xff\xff\xff", b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\x91" * 200, b"\x91" * 5000, b"\x81\xa1a" * 200, b"\xa2\xc3\x28", b"\xa1\xff",
]  # fmt: skip


def decoder(direction: str) -> Callable[[bytes], list[tuple[ToWorker | FromWorker, bytes]]]:
    """Return the `feed` of a new decoder of one direction."""
    made: FrameDecoder[ToWorker] | FrameDecoder[FromWorker]
    made = to_worker_decoder() if direction == "to" else from_worker_decoder()
    return made.feed  # type: ignore[return-value]


def frame(header: bytes, body: bytes) -> bytes:
    return PREFIX.pack(len(header), len(body)) + header + body


def seeds(direction: str) -> list[bytes]:
    frames = [encode_frame(message, 5) + b"body!" for message in MESSAGES[direction]]
    return frames + [raw for kept, raw in corpus() if kept == direction]


def corpus() -> list[tuple[str, bytes]]:
    lines = CORPUS.read_text().splitlines() if CORPUS.exists() else []
    return [(line.split()[0], bytes.fromhex(line.split()[1])) for line in lines]


def mutate(dice: random.Random, data: bytes, other: bytes) -> bytes:
    raw = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(raw) + 1)
        change = dice.randrange(7)
        if change == 0 and at < len(raw):
            raw[at] ^= 1 << dice.randrange(8)
        elif change == 1 and at < len(raw):
            raw[at] = dice.randrange(256)
        elif change == 2:
            raw[at:at] = dice.choice(TOKENS)
        elif change == 3:
            raw[at : at + dice.randrange(1, 9)] = b""
        elif change == 4:
            raw[at : at + 1] = dice.choice(TOKENS)
        elif change == 5:
            raw[at:] = other[dice.randrange(len(other) + 1) :]
        else:
            raw += other
    return bytes(raw)


def make(dice: random.Random, bases: list[bytes]) -> bytes:
    base, other = dice.choice(bases), dice.choice(bases)
    if dice.random() < 0.3:
        return mutate(dice, base, other)
    # The lengths are right, so that what is broken is the message itself.
    return frame(mutate(dice, base[8:-5], other[8:-5])[:MAX_HEADER_BYTES], b"body!") + other


def feed(direction: str, data: bytes, cuts: list[int]) -> str:
    """Say what came of an input: which kinds of messages, or why it was refused."""
    feed_decoder = decoder(direction)
    kinds = set()
    start = 0
    try:
        for cut in [*cuts, len(data)]:
            kinds |= {type(message).__name__ for message, _ in feed_decoder(data[start:cut])}
            start = cut
    except ProtocolError as error:
        return re.sub(r"[`'].*?[`']|\d+", "N", str(error))
    return " ".join(sorted(kinds)) or "unfinished"


def run(seed: int, inputs: int) -> tuple[Counter[str], dict[str, tuple[str, bytes]]]:
    dice = random.Random(seed)
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, bytes]] = {}
    bases = {direction: seeds(direction) for direction in MESSAGES}
    for _ in range(inputs):
        direction = "from" if dice.random() < 0.7 else "to"
        data = make(dice, bases[direction])
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(3)))
        try:
            outcome = feed(direction, data, cuts)
        except Exception:
            print(f"FOUND: {direction} {data.hex()} cut at {cuts}", file=sys.stderr)
            raise
        counts[outcome] += 1
        key = f"{direction} {outcome}"
        if not data:
            continue
        if key not in examples or len(data) < len(examples[key][1]):
            examples[key] = (direction, data)
    return counts, examples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--keep", action="store_true", help="write what was found to the corpus")
    options = parser.parse_args()
    started = time.monotonic()
    share = -(-options.inputs // options.jobs)
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, bytes]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        numbers = [options.seed * 1000 + job for job in range(options.jobs)]
        for found, shown in pool.map(run, numbers, [share] * options.jobs):
            counts += found
            examples = {**shown, **examples}
    if options.keep:
        lines = sorted(
            {f"{kind} {data.hex()}" for kind, data in examples.values() if len(data) < 2000}
        )
        CORPUS.write_text("\n".join(lines) + "\n")
    ways = [outcome for outcome in counts if outcome.startswith(("not a message", "a frame"))]
    print(
        f"{counts.total():,} inputs in {time.monotonic() - started:.0f} s, seed {options.seed}: "
        f"{sum(counts[way] for way in ways):,} refused in {len(ways)} ways; the others were "
        "frames, or the beginning of one; nothing else came of them"
    )


if __name__ == "__main__":
    main()
