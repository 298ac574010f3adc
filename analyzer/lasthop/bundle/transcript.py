"""A terminal transcript: a file with prompts, commands and outputs, cut into the parts that each command made."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .commands import Command, identify_command

# root@node1:~# cmd   [root@node1 ~]# cmd   node1# cmd   $ cmd   # cmd
_PROMPT = re.compile(
    r"^\s*(?:\[(?P<user1>[\w.-]+)@(?P<host1>[\w.-]+)(?: [^\]\n]*)?\][#$]"
    r"|(?P<user2>[\w.-]+)@(?P<host2>[\w.-]+):[^#$\n]*[#$]"
    r"|(?P<host3>[A-Za-z][\w.-]*)[#$](?= )"
    r"|(?P<bare>[#$]))\s*(?P<command>\S.*)?$"
)
# `ansible all -m shell -a 'COMMAND'` heads each host's output so
_ANSIBLE = re.compile(r"^(?P<host>[\w.-]+) \| (?:SUCCESS|CHANGED|FAILED)\b.*\brc=-?\d+ >>\s*$")
_ANSIBLE_COMMAND = re.compile(r"\bansible\b.*\s-a\s+(?P<quote>['\"])(?P<command>.+?)(?P=quote)")
_BREAK = re.compile(r"^(?:# ---|#{1,6} |\*\*.*\*\*\s*$|```)")
_TOOLS = re.compile(
    r"^(?:sudo )?(?:ip |iptables|ip6tables|birdcl?6? |calicoctl |conntrack |ipset |nft |ss |sysctl |bridge |route -n|"
    r"kubectl |docker exec |nstat)"
)


@dataclass(frozen=True, slots=True)
class Part:
    """Lines first..last (counted from 1) of a file are the output of `line`."""

    first: int
    last: int
    command: Command
    line: str
    host: str


def split_transcript(text: str) -> list[Part]:
    """The parts of a transcript whose commands are known, in order; [] when the text is no transcript.

    A line is a prompt only if it names a host, or if its command is one that is known. A command without a prompt
    counts at the start of the file and after an empty line or a heading.
    """
    parts: list[Part] = []
    open_part: tuple[int, Command, str, str] | None = None
    lines = text.split("\n")
    before_blank = True
    remote: Command | None = None
    remote_line = ""

    def close(last: int) -> None:
        if open_part is not None:
            first, command, line, host = open_part
            while last >= first and not lines[last - 1].strip():
                last -= 1
            if last >= first:
                parts.append(Part(first, last, command, line, host))

    for number, line in enumerate(lines, 1):
        heading = bool(_BREAK.match(line))
        answer = _ANSIBLE.match(line)
        if answer is not None:
            close(number - 1)
            open_part = (number + 1, remote, remote_line, answer["host"]) if remote is not None else None
            before_blank = False
            continue
        asked = _ANSIBLE_COMMAND.search(line)
        if asked is not None:
            remote_line, remote = asked["command"], identify_command(asked["command"])
        match = None if heading else _PROMPT.match(line)
        shown = host = ""
        found: Command | None = None
        is_prompt = False
        if match is not None:
            shown = match["command"] or ""
            host = match["host1"] or match["host2"] or match["host3"] or ""
            named = bool(match["host1"] or match["host2"])
            found = identify_command(shown) if shown else None
            is_prompt = named or found is not None
        elif not heading and before_blank and _TOOLS.match(line):
            shown, found = line.strip(), identify_command(line.strip())
            is_prompt = found is not None
        if heading or is_prompt:
            close(number - 1)
            open_part = (number + 1, found, shown, host) if found is not None else None
        before_blank = heading or not line.strip()
    close(len(lines))
    return parts
