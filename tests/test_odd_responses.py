"""Hundreds of malformed or unusual responses, through this handler and Scrapy's own."""

from __future__ import annotations

from collections import Counter

import pytest

from conformance.responses import CASES
from conformance.responses.compare import OURS, Outcome, download, download_by_scrapy
from conformance.responses.explained import EXPLANATIONS, explanation_of
from conformance.responses.page import PAGE, page, versions


def test_there_are_enough_and_each_is_another() -> None:
    assert len(CASES) >= 380
    assert Counter(case.title for case in CASES).most_common(1)[0][1] == 1
    assert {case.transport for case in CASES} == {"TCP", "TLS", "HTTP/2"}


def test_each_explanation_explains_something() -> None:
    assert {explanation_of(case) for case in CASES} - {None} == set(EXPLANATIONS)


@pytest.fixture(scope="module")
def ours() -> list[Outcome]:
    return download(CASES, OURS)


@pytest.mark.processes
def test_a_response_that_is_heard_as_it_arrives_is_the_same(ours: list[Outcome]) -> None:
    heard = download(CASES, OURS, listen=True)
    differences = [
        (case.title, str(one), str(other))
        for case, one, other in zip(CASES, ours, heard, strict=True)
        if one != other
    ]
    assert differences == []


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(versions() not in PAGE.read_text(), reason="other versions differ otherwise")
def test_each_difference_from_scrapy_is_explained_and_documented(ours: list[Outcome]) -> None:
    theirs = download_by_scrapy()
    different = [
        (case, str(their), str(our))
        for case, their, our in zip(CASES, theirs, ours, strict=True)
        if their != our
    ]
    assert [each for each in different if explanation_of(each[0]) is None] == []
    assert {explanation_of(case) for case, *_ in different} == set(EXPLANATIONS)
    assert page(theirs, ours) == PAGE.read_text()
