"""What a pull request changes, as text in git's format."""

from collections.abc import Callable, Iterable

from hfvaccine.localhub.store.repository import Change

LARGEST = 1 << 20


def diff_of(changes: Iterable[Change], read: Callable[[str], bytes]) -> str:
    """All changes as one diff; only the names of files behind the first megabyte, and of those that are not text.

    Args:
        changes: the files that changed.
        read: gives a blob's bytes.
    """
    parts, left = [], LARGEST
    for path, before, after in changes:
        sides = ("/dev/null" if before is None else f"a/{path}", "/dev/null" if after is None else f"b/{path}")
        parts.append(f"diff --git a/{path} b/{path}\n")
        parts += ["new file mode 100644\n"] if before is None else []
        parts += ["deleted file mode 100644\n"] if after is None else []
        old, new = (read(blob.decode()) if blob and left > 0 else b"" for blob in (before, after))
        left -= len(old) + len(new)
        try:
            hunk = _hunk(old.decode(), new.decode()) if left >= 0 and b"\0" not in old + new else None
        except UnicodeDecodeError:
            hunk = None
        if hunk is None:
            parts.append(f"Binary files {sides[0]} and {sides[1]} differ\n")
        elif hunk:
            parts.append(f"--- {sides[0]}\n+++ {sides[1]}\n{hunk}")
    return "".join(parts)


def _hunk(old: str, new: str) -> str:
    # One hunk from the first to the last line that differs: finding the shortest takes the square of a hostile text.
    before, after = old.split("\n"), new.split("\n")
    ends = [lines.pop() for lines in (before, after)]  # "" where the last line ends as lines do
    before += [f"{ends[0]}\n\\ No newline at end of file"] if ends[0] else []
    after += [f"{ends[1]}\n\\ No newline at end of file"] if ends[1] else []
    start, shortest = 0, min(len(before), len(after))
    while start < shortest and before[start] == after[start]:
        start += 1
    end = 0
    while end < shortest - start and before[-1 - end] == after[-1 - end]:
        end += 1
    if start == len(before) == len(after):
        return ""
    head, tail = before[max(start - 3, 0) : start], before[len(before) - end :][:3]
    gone, come = before[start : len(before) - end], after[start : len(after) - end]
    counts = [len(head) + len(lines) + len(tail) for lines in (gone, come)]
    places = [f"{start - len(head) + (count > 0)},{count}" for count in counts]
    marked = [(" ", head), ("-", gone), ("+", come), (" ", tail)]
    lines = "".join(f"{mark}{line}\n" for mark, some in marked for line in some)
    return f"@@ -{places[0]} +{places[1]} @@\n{lines}"
