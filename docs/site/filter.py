#!/usr/bin/env python3
"""Doxygen's input filter: makes the guides' Markdown and the headers' comments what Doxygen wants.

Usage: filter.py FILE, which is below the project's root. Writes to stdout, line by line, so that line numbers in warnings
stay right.

Markdown is written for repository browsers. Here every heading gets a label, links between guides become references to
labels, and links to other files of the repository become plain text, since the site has no page for them.
In headers the comment at the top describes the file, and what is the same everywhere, such as the struct size of the C
interface, is described here once.
"""

import posixpath
import re
import sys
from pathlib import Path

OP = "Does what the comment of its arguments says. Fails with #OPHIS_INVALID_ARGUMENT on shapes, dtypes or values other than documented."
ROOT = Path(__file__).resolve().parent.parent.parent
INDEX = "docs/README.md"
FENCE = re.compile(r"^\s*```")
HEADING = re.compile(r"^(#+) (.*?)\s*$")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^()\s]+)\)")
GUIDE = re.compile(r"\bdocs/[\w/-]+\.md\b")
CODE = re.compile(r"`+[^`]*`+")
# Declarations that need no comment of their own where they stand, and what the reference says of them.
COMMON = [
    (r"  size_t size;$", "sizeof of the struct, as its _init function writes it"),
    (r"OPHIS_API ophis_status (ophis_\w+)_init\(", "Writes size and the defaults; `size` is sizeof of the caller's struct."),
    (r"OPHIS_API void (ophis_\w+)_destroy\(", "Frees the handle; NULL is taken too."),
    (r"OPHIS_API ophis_status ophis_\w+\(ophis_context\* context, const ophis_\w+_args\* args\);$", OP),
    (r"OPHIS_API ophis_status ophis_\w+\(ophis_context\* context,$", OP),
    (r"  (\w+)\(\1&&( other)?\) noexcept", "Moves."),
    (r"  (\w+)& operator=\(\1&&( other)?\) noexcept", "Moves."),
    (r" *(friend |inline )?std::ostream& operator<<\(", "Writes it as a message shows it."),
]


def label(path, heading=""):
    """The label of a guide, or of a heading in it; `path` from the root."""
    return re.sub(r"\W", "_", "_".join([path.removeprefix("docs/").removesuffix(".md"), heading]).strip("_")).lower()


def slug(heading):
    """The anchor that repository browsers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def rewrite_link(path, match):
    text, target = match.groups()
    if re.match(r"https?:", target):
        return match.group()
    file, _, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
    if (ROOT / file).exists() and not file.endswith(".md"):
        return text
    return f"[{text}](@ref {label(file, anchor)})"


def escape(text):
    """Keeps characters outside of code from being Doxygen's commands and links."""
    parts = CODE.split(text)
    # Doxygen lets a quote end code between single marks.
    codes = [f"`{code}`" if "'" in code and not code.startswith("``") else code for code in CODE.findall(text)] + [""]
    quoted = [re.sub(r"(?<!\()([@\\])(?!ref )|(?<!^)([#%])(?=\w)", lambda m: "\\" + (m[1] or m[2]), part) for part in parts]
    return "".join(part + code for part, code in zip(quoted, codes))


def markdown(path, text):
    in_fence = False
    for number, line in enumerate(text.splitlines()):
        if FENCE.match(line):
            in_fence = not in_fence
        elif not in_fence and not line.startswith("    "):
            if heading := HEADING.match(line):
                marks, title = heading.groups()
                title = title.replace("`", "")  # the tree of pages would show marks
                line = f"{marks} {title} {{#{label(path, slug(title) if number else '')}}}"
            else:
                line = escape(LINK.sub(lambda match: rewrite_link(path, match), line))
        yield line
    if path == INDEX:
        yield from tree_of_pages(text)


def tree_of_pages(index):
    """A page for every section of the index, above the guides that the section names."""
    for section in index.split("\n## ")[1:]:
        title = section.splitlines()[0]
        yield f"@page {label(INDEX, slug(title))}_pages {title}"
        for target in re.findall(r"\]\(([^()\s]+\.md)\)", section):
            yield f"- @subpage {label('docs/' + target)}"


def describe_common(lines):
    """Describes COMMON declarations that have no comment, on their own line."""
    before = ""
    for line in lines:
        if not before.lstrip().startswith("///"):
            for pattern, text in COMMON:
                if re.match(pattern, line):
                    line = f"/** {text} */ {line}"
                    break
        yield line
        before = line


def header(path, text):
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    lines[:end] = ["///" + line[2:] for line in lines[:end]]
    guide = f"docs/ops/{Path(path).stem}.md"
    if (ROOT / guide).exists():
        lines[end - 1] += f" See docs/ops/{Path(path).stem}.md."
    lines = [GUIDE.sub(lambda match: f"the guide @ref {label(match.group())}", line) for line in lines]
    lines[0] = lines[0].replace("///", "/// @about", 1)
    return describe_common(lines)


def main():
    file = Path(sys.argv[1]).resolve()
    path = file.relative_to(ROOT).as_posix()
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        lines = markdown(path, text)
    else:
        lines = [text] if path.endswith(".dox") else header(path, text)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
