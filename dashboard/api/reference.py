"""The API reference at `/api/docs`, written from the OpenAPI: one HTML page that needs no script and no network.

It must not know the routes: what it shows is what `/api/v1/openapi.json` says.
"""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from dashboard.auth.pages import HEAD_LINKS

Spec = Mapping[str, Any]


def reference_page(spec: Spec) -> str:
    """The whole page."""
    prefix = spec.get("servers", [{}])[0].get("url", "")
    groups: dict[str, list[str]] = {}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            group = (operation.get("tags") or ["other"])[0]
            groups.setdefault(group, []).append(_operation(method.upper(), prefix + path, operation, spec))
    sections = "".join(f"<h2>{escape(group)}</h2>{''.join(entries)}" for group, entries in groups.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(spec["info"]["title"])}</title>{HEAD_LINKS}</head>
<body class="reference"><main><p><a href="/">← Floor</a></p><h1>{escape(spec["info"]["title"])}</h1>
<p>{escape(spec["info"].get("description", ""))}</p>
<p>For programs: <a href="{escape(prefix)}/openapi.json">openapi.json</a> (OpenAPI {escape(spec["openapi"])}).</p>
{sections}<h2>Messages</h2>{"".join(_schemas(spec))}</main></body></html>"""


def _operation(method: str, path: str, operation: Spec, spec: Spec) -> str:
    parts = [
        f"<p>{_prose(operation.get('description', ''))}</p>",
        _parameters(operation.get("parameters", []), spec),
        _body(operation.get("requestBody"), spec),
        _answers(operation.get("responses", {})),
    ]
    return (
        f'<details><summary><span class="verb">{method}</span> <code>{escape(path)}</code> '
        f'<span class="dim">· {escape(operation.get("summary", ""))}</span></summary>'
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def _parameters(parameters: list[Spec], spec: Spec) -> str:
    rows = [
        (one["name"], one["in"] + (", required" if one.get("required") else ""), _type_of(one["schema"]),
         one.get("description", ""))
        for one in parameters
    ]  # fmt: skip
    return _table(("parameter", "where", "type", ""), rows)


def _body(body: Spec | None, spec: Spec) -> str:
    if body is None:
        return ""
    return "".join(
        f"<p>Body <code>{escape(kind)}</code>: {_type_of(content['schema'])}</p>{_example(content, spec)}"
        for kind, content in body["content"].items()
    )


def _example(content: Spec, spec: Spec) -> str:
    schema = content["schema"]
    for reference in [schema, *schema.get("anyOf", [])]:
        name = reference.get("$ref", "").rpartition("/")[2]
        schema = spec.get("components", {}).get("schemas", {}).get(name, schema)
    example = content.get("example") or next(iter(schema.get("examples", [])), None)
    if example is None:
        return ""
    text = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"


def _answers(responses: Spec) -> str:
    rows = []
    for status, answer in sorted(responses.items()):
        schemas = [content["schema"] for content in answer.get("content", {}).values() if content.get("schema")]
        rows.append((status, " ".join(_type_of(schema) for schema in schemas), "", answer.get("description", "")))
    return _table(("status", "answer", "", ""), rows)


def _schemas(spec: Spec) -> Iterator[str]:
    for name, schema in sorted(spec.get("components", {}).get("schemas", {}).items()):
        required = set(schema.get("required", []))
        rows = [
            (field, "required" if field in required else "", _type_of(one), one.get("description", ""))
            for field, one in schema.get("properties", {}).items()
        ]
        yield (
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> '
            f'<span class="dim">· {_prose(schema.get("description", ""))}</span></summary>'
            f'<div class="body">{_table(("field", "", "type", ""), rows)}</div></details>'
        )


def _type_of(schema: Spec) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type_of(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    limits = [f"{word} {schema[key]}" for key, word in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    longest = [f"up to {schema['maxLength']} characters"] if "maxLength" in schema else []
    return escape(" ".join([str(schema.get("const", schema.get("type", "anything"))), *limits, *longest]))


def _prose(text: str) -> str:
    """Markdown of docstrings as HTML: only code and strong are used there."""
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", coded)


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str, str]]) -> str:
    """Rows of name (text), where (text or HTML of a type), type (HTML), words (text)."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{where}</td><td>{kind}</td><td>{_prose(words)}</td></tr>"
        for name, where, kind, words in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
