"""Changing one key of a YAML text and nothing else of it: comments, order and form stay as somebody wrote them.

The place of each key is PyYAML's (`yaml.compose` gives the position of every node); the change is made in the text.
"""

from typing import Any

import yaml

Keys = tuple[str, ...]
INDENT = 2


def set_value(text: str, keys: Keys, value: Any) -> str:
    """The text with `value` at the path `keys`; what is missing on the way is added.

    Raises:
        ValueError: the text is written in a form in which that cannot be done (anchors, trailing commas).
    """
    changed = _set(text, keys, value)
    expected = yaml.safe_load(text) or {}
    inner = expected
    for key in keys[:-1]:
        # A copy, since an anchor's value stands in other places too, which are not meant.
        inner[key] = dict(inner[key]) if isinstance(inner.get(key), dict) else {}
        inner = inner[key]
    inner[keys[-1]] = value
    return _checked(changed, expected)


def remove_key(text: str, keys: Keys) -> str:
    """The text without what stands at the path `keys`.

    Raises:
        KeyError: nothing stands there.
        ValueError: see `set_value`.
    """
    expected = yaml.safe_load(text) or {}
    inner = expected
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    parent = _lookup(yaml.compose(text), keys[:-1])[-1]
    if parent.flow_style or len(parent.value) == 1:
        return _checked(_set(text, keys[:-1], inner), expected)
    key_node, value_node = _pair(parent, keys[-1])
    start = text.rfind("\n", 0, key_node.start_mark.index) + 1
    return _checked(text[:start] + text[_line_end(text, _end(text, value_node)) :], expected)


def _set(text: str, keys: Keys, value: Any) -> str:
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return f"{text.rstrip()}\n{_entry(keys, value)}\n".lstrip()
    found = _lookup(root, keys)
    depth = len(found) - 1  # keys that are there
    if depth == len(keys) or not isinstance(found[-1], yaml.MappingNode):
        return _replace(text, found[-2], keys[depth - 1], ": " + _dumped(_nested(keys[depth:], value)))
    mapping, entry = found[-1], _entry(keys[depth:], value)
    if not mapping.value:
        if found[-2].flow_style:
            return _replace(text, found[-2], keys[depth - 1], f": {{{entry}}}")
        column = _pair(found[-2], keys[depth - 1])[0].start_mark.column + INDENT
        return _replace(text, found[-2], keys[depth - 1], f":\n{' ' * column}{entry}")
    last = _end(text, mapping.value[-1][1])
    if mapping.flow_style:
        return f"{text[:last]}, {entry}{text[last:]}"
    line = _line_end(text, last)
    before = text[:line] if text[:line].endswith("\n") else text[:line] + "\n"
    return f"{before}{' ' * mapping.value[0][0].start_mark.column}{entry}\n{text[line:]}"


def _lookup(root: Any, keys: Keys) -> list[Any]:
    """The nodes on the path of `keys`, from the root as far as it goes."""
    nodes = [root]
    for key in keys:
        if not isinstance(nodes[-1], yaml.MappingNode) or _pair(nodes[-1], key) is None:
            break
        nodes.append(_pair(nodes[-1], key)[1])
    return nodes


def _pair(mapping: Any, key: str) -> Any:
    """Nodes of a key and of its value."""
    return next((pair for pair in mapping.value if pair[0].value == key), None)


def _replace(text: str, mapping: Any, key: str, new: str) -> str:
    """The text with `new` behind a key of a mapping, in place of its colon and value."""
    key_node, value_node = _pair(mapping, key)
    start = key_node.end_mark.index
    return text[:start] + new + text[max(_end(text, value_node), text.index(":", start) + 1) :]


def _end(text: str, node: Any) -> int:
    """Where a node ends in the text; comments behind it are not part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    return len(text[: node.end_mark.index].rstrip())


def _line_end(text: str, position: int) -> int:
    """Where the line after the one of a position begins."""
    return text.find("\n", position) + 1 or len(text)


def _entry(keys: Keys, value: Any) -> str:
    return f"{_dumped(keys[0])}: {_dumped(_nested(keys[1:], value))}"


def _nested(keys: Keys, value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _dumped(value: Any) -> str:
    """A value in one line of YAML, quoted so that it may stand within {} or [] too."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30)
    return text.strip()[1:-1]


def _checked(text: str, expected: Any) -> str:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if found != expected:
        raise ValueError("is written in a form that only an editor can change")
    return text
