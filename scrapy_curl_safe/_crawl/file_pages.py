"""The pages that the files of media pipelines belong to.

A pipeline requests files without naming their page. But an item lists the URLs of its files, in the
fields that FILES_URLS_FIELD and IMAGES_URLS_FIELD name, and a spider middleware knows which page
the item came from.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from itemadapter import ItemAdapter
from scrapy import Request
from scrapy.crawler import Crawler

# A pipeline requests the files of an item as soon as it gets the item.
_MOST_FILES = 16_384

_pages: WeakKeyDictionary[Crawler, FilePages] = WeakKeyDictionary()


class FilePages:
    """The pages of a crawl's files. If there are too many, those noted first are forgotten.

    Args:
        fields: the fields of items that list URLs of files.
    """

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._page_by_file: dict[str, str] = {}

    def note(self, item: Any, page: str) -> None:
        """Note the files of an item."""
        if not ItemAdapter.is_item(item):
            return
        adapter = ItemAdapter(item)
        for field in self._fields:
            urls = adapter.get(field)
            if isinstance(urls, (list, tuple)):
                for url in urls:
                    self._note_file(url, page)

    def _note_file(self, url: Any, page: str) -> None:
        try:
            # In the form that the pipeline's request will have.
            escaped = Request(url).url
        except (TypeError, ValueError):
            return
        self._page_by_file[escaped] = page
        if len(self._page_by_file) > _MOST_FILES:
            del self._page_by_file[next(iter(self._page_by_file))]

    def page_of(self, url: str) -> str | None:
        """Return the page that a file belongs to; None if it is not known."""
        return self._page_by_file.get(url)


def file_pages_of(crawler: Crawler) -> FilePages:
    """Return the `FilePages` of a crawler, made by the first call."""
    pages = _pages.get(crawler)
    if pages is None:
        settings = crawler.settings
        fields = (
            settings.get("FILES_URLS_FIELD") or "file_urls",
            settings.get("IMAGES_URLS_FIELD") or "image_urls",
        )
        pages = _pages[crawler] = FilePages(fields)
    return pages
