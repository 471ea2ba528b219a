"""The page /docs: the OpenAPI document as HTML, without scripts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem }
code { background: #f2f2f2; padding: .1em .3em }
table { border-collapse: collapse; width: 100% }
td, th { border: 1px solid #ddd; padding: .3rem .5rem; text-align: left;
vertical-align: top }
@media (prefers-color-scheme: dark) { body { background: #1a1a1a; color: #eee }
code { background: #333 } td, th, h2 { border-color: #444 } a { color: #8cf } }
"""


def page(openapi: dict[str, Any]) -> str:
    """Return the page."""
    info = openapi["info"]
    operations = [
        part
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
        for part in _operation(method, path, operation)
    ]
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
            f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}",
            'For machines: <a href="spec">OpenAPI</a>.</p>',
            *operations,
            "</body></html>",
        ]
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    """Yield the description of one method of one path."""
    yield f"<h2><code>{escape(method.upper())} {escape(path)}</code> {escape(operation.get('summary', ''))}</h2>"
    contents = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = next((content["schema"] for content in contents.values()), {})
    if schema.get("properties"):
        yield "<table><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr>"
        for name, field in schema["properties"].items():
            default = "required" if name in schema.get("required", ()) else str(field.get("default", ""))
            cells = (
                f"<code>{escape(name)}</code>",
                escape(_kind(field)),
                escape(default),
                escape(field.get("description", "")),
            )
            yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</table>"
    answers = (f"{status}: {answer.get('description', '')}" for status, answer in operation["responses"].items())
    yield f"<p>{escape('; '.join(answers))}</p>"


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(value for value in schema["enum"] if isinstance(value, str) and value.isalpha())
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items') or schema.get('prefixItems', [{}])[0])}"
    return str(schema.get("type", schema.get("const", "")))
