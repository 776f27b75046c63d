"""Small .xlsx and .ods files, written by hand: the project reads spreadsheets and does not write them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

Rows = Sequence[Sequence[object]]

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def write_xlsx(
    path: Path, sheets: Mapping[str, Rows], *, hidden: Sequence[str] = (), merged: str | None = None
) -> Path:
    """Write sheets of text, numbers, booleans and dates. merged: an area, such as A2:A3, of each sheet."""
    numbers = {name: number for number, name in enumerate(sheets, start=1)}
    entries = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="r{n}" '
        f'state="{"hidden" if name in hidden else "visible"}"/>'
        for name, n in numbers.items()
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Target="xl/workbook.xml" '
            f'Type="{_OFFICE}/officeDocument"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{entries}</sheets></workbook>',
        )
        targets = "".join(
            f'<Relationship Id="r{n}" Target="worksheets/sheet{n}.xml" Type="{_OFFICE}/worksheet"/>'
            for n in numbers.values()
        )
        styles = f'<Relationship Id="s" Target="styles.xml" Type="{_OFFICE}/styles"/>'
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships">{targets}{styles}</Relationships>',
        )
        # Style 1 is Excel's format 14, a date.
        formats = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs>'
        file.writestr("xl/styles.xml", f'<styleSheet xmlns="{_MAIN}">{formats}</styleSheet>')
        area = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
        for name, rows in sheets.items():
            body = "".join(_xlsx_row(number, row) for number, row in enumerate(rows, start=1))
            file.writestr(
                f"xl/worksheets/sheet{numbers[name]}.xml",
                f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData>{area}</worksheet>',
            )
    return path


def _xlsx_row(number: int, row: Sequence[object]) -> str:
    cells = "".join(_xlsx_cell(f"{chr(65 + place)}{number}", value) for place, value in enumerate(row))
    return f'<row r="{number}">{cells}</row>'


def _xlsx_cell(place: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - date(1899, 12, 30)).days}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def write_ods(path: Path, sheets: Mapping[str, Rows]) -> Path:
    """Write sheets of text, numbers, booleans and dates."""
    tables = "".join(
        f"<table:table table:name={quoteattr(name)}>{''.join(map(_ods_row, rows))}</table:table>"
        for name, rows in sheets.items()
    )
    kinds = " ".join(f'xmlns:{kind}="{_ODF}:{kind}:1.0"' for kind in ("office", "table", "text", "manifest"))
    with zipfile.ZipFile(path, "w") as file:
        kind = "application/vnd.oasis.opendocument.spreadsheet"
        file.writestr("mimetype", kind)
        file.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest {kinds}><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="{kind}"/></manifest:manifest>',
        )
        file.writestr(
            "content.xml",
            f"<office:document-content {kinds}><office:body><office:spreadsheet>{tables}</office:spreadsheet>"
            "</office:body></office:document-content>",
        )
    return path


def _ods_row(row: Sequence[object]) -> str:
    return f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>"


def _ods_cell(value: object) -> str:
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, bool):
        kind = f'boolean" office:boolean-value="{str(value).lower()}'
    elif isinstance(value, int | float):
        kind = f'float" office:value="{value!r}'
    elif isinstance(value, date):
        kind = f'date" office:date-value="{value.isoformat()}'
    else:
        kind = "string"
    shown = f"<text:p>{escape(str(value))}</text:p>"
    return f'<table:table-cell office:value-type="{kind}">{shown}</table:table-cell>'
