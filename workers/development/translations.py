"""Checks that every string on a page is translated: `python -m workers.development.translations`.

With `--update` it first writes the catalogs afresh, so that what is missing can be filled in.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from waitlist.config import ROOT

MAPPING = ROOT / "waitlist" / "babel.cfg"
CATALOGS = ROOT / "waitlist" / "translations"
SOURCES = {ROOT / name for name in ("waitlist", "workers", "templates")}
LAZY = {"_l": None, "lazy_gettext": None, "lazy_ngettext": (1, 2), "lazy_pgettext": ((1, "c"), 2)}


def main() -> int:
    """Print what is missing or stale in each catalog; status 1 if anything is."""
    wanted = extracted()
    paths = sorted(CATALOGS.glob("*/LC_MESSAGES/messages.po"))
    if "--update" in sys.argv[1:]:
        for path in paths:
            update(path, wanted)
    found = [
        f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in faults(path, wanted)
    ]
    print(
        "\n".join(found)
        or f"Translations: {len(wanted)} strings, {len(paths)} catalog(s), all whole"
    )
    return 1 if found else 0


def extracted() -> Catalog:
    """Every string that the sources mark for translation."""
    with MAPPING.open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    catalog = Catalog()
    for name, line, text, comments, context in extract_from_dir(
        ROOT, methods, options, {**DEFAULT_KEYWORDS, **LAZY}, directory_filter=_holds_sources
    ):
        catalog.add(text, None, [(name, line)], auto_comments=comments, context=context)
    return catalog


def faults(path: Path, wanted: Catalog) -> Iterator[str]:
    """What is wrong with a catalog: missing, unsure, broken, left over, or not compiled."""
    catalog = _read(path)
    for message in wanted:
        known = catalog.get(message.id, context=message.context) if message.id else message
        if message.id and (known is None or not _whole(known)):
            yield f"not translated: {_first(message)!r}"
    for message in catalog:
        if message.id and wanted.get(message.id, context=message.context) is None:
            yield f"no longer used: {_first(message)!r}"
        if message.id and message.fuzzy:
            yield f"marked fuzzy: {_first(message)!r}"
    for message, errors in catalog.check():
        yield from (f"{error}: {_first(message)!r}" for error in errors)
    compiled = path.with_suffix(".mo")
    if not compiled.exists() or compiled.read_bytes() != _compiled(catalog):
        yield "the .mo beside it is stale: run this command with --update"


def update(path: Path, wanted: Catalog) -> None:
    """Write the catalog afresh from the sources, what is translated kept, and compile it."""
    catalog = _read(path)
    catalog.update(wanted, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    with path.open("wb") as file:
        write_po(file, catalog, width=100, include_lineno=False, ignore_obsolete=True)
    path.with_suffix(".mo").write_bytes(_compiled(_read(path)))


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name, domain="messages")


def _compiled(catalog: Catalog) -> bytes:
    written = io.BytesIO()
    write_mo(written, catalog)
    return written.getvalue()


def _whole(message: Message) -> bool:
    return bool(message.string) and all(
        message.string if isinstance(message.string, tuple) else [message.string]
    )


def _first(message: Message) -> str:
    return message.id[0] if isinstance(message.id, (tuple, list)) else str(message.id)


def _holds_sources(folder: str) -> bool:
    """Whether to look into a folder: only the sources, never `.venv` or `instance`."""
    path = Path(folder)
    return any(path == source or source in path.parents for source in SOURCES)


if __name__ == "__main__":
    sys.exit(main())
