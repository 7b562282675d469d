#!/usr/bin/env python3
"""Fails if a text contains a phrase of phrases.toml, and prints each occurrence: FILE:LINE: PHRASE; write INSTEAD.

In TOML and Rust files, only comments are checked. Code blocks, code between backquotes and link targets are skipped.
"""

import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Indented comments of TOML files are commands and are skipped.
COMMENT = {
    ".toml": re.compile(r"\s*#( ?\S.*|$)"),
    ".rs": re.compile(r"\s*//[/!]?( .*|$)"),
}


def blanked(match):
    """Replaces the match with blanks, which keeps line and column numbers."""
    return re.sub(r"[^\n]", " ", match.group())


def prose(path):
    text = path.read_text()
    if path.suffix in COMMENT:
        comments = (COMMENT[path.suffix].match(line) for line in text.split("\n"))
        text = "\n".join(comment.group(1) if comment else "" for comment in comments)
    text = re.sub(r"^( *)```.*?^\1```", blanked, text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", blanked, text)
    text = re.sub(r"\]\([^)]*\)|<[^>\n]*>|https?://\S+", blanked, text)
    # Phrases may continue on the next line.
    return "\n".join(line.strip() for line in text.split("\n"))


def main():
    settings = tomllib.loads((HERE / "phrases.toml").read_text())
    phrases = [(re.compile(p["pattern"].replace(" ", "[ \n]"), re.IGNORECASE | re.MULTILINE), p["instead"])
               for p in settings["phrase"]]  # fmt: skip
    allowed = settings.get("allowed", [])
    used = set()
    found = 0
    for path in sorted({path for pattern in settings["files"] for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        text = prose(path)
        lines = path.read_text().split("\n")
        for pattern, instead in phrases:
            for match in pattern.finditer(text):
                number = text.count("\n", 0, match.start()) + 1
                excuses = [i for i, a in enumerate(allowed) if a["file"] == name and a["text"] in lines[number - 1]]
                used.update(excuses)
                if not excuses:
                    found += 1
                    print(f"{name}:{number}: {' '.join(match.group().split())!r}; write {instead}", file=sys.stderr)
    for i, entry in enumerate(allowed):
        if i not in used:
            found += 1
            print(f"phrases.toml: {entry['file']} no longer contains a phrase in {entry['text']!r}", file=sys.stderr)
    if found:
        sys.exit(f"error: {found} problems: rewrite the phrases or correct the exceptions in scripts/lint/phrases.toml")


if __name__ == "__main__":
    main()
