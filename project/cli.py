"""Options, help, and the one place where errors become text and exit codes. Imports nothing heavy."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple, NoReturn

from project import __version__
from project.commands import BY_NAME, FAMILIES, VERBS, Verb
from project.core.errors import Bug, Interrupted, JobferryError, UserError
from project.core.words import did_you_mean
from project.render.output import Output, program
from project.render.text import wrap

GLOBAL_FLAGS = ("--json", "--quiet", "--no-input", "--verbose", "--no-color", "--help", "--version")
GLOBAL_SHORT = "qvh"
GLOBAL_VALUES = ("--username", "--private-key")
SHORT_FORM = Verb("", "", "", "short")

EPILOG = """\
Examples:
  {prog} init                              write a first input file
  {prog} -u input.yml                      submit it
  {prog} -u input.yml -m modules.yml       ... with modules
  {prog} ls                                see your jobs
  {prog} -r 1f2e3d                         fetch the output into this folder

A job may be named by the first characters of its UUID, 6 at least.
`{prog} VERB --help` says more about a verb.
Exit codes: 0 done, 2 bad usage or input, 3 the cluster failed, 4 the API
failed, 5 the job failed, 70 a bug of jobferry, 130 interrupted.
"""


class Call(NamedTuple):
    """What the words of a command line ask for."""

    verb: Verb
    words: list[str]


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError: what is wrong with the call, and where the help is."""
        text = message[:1].upper() + message[1:] + "."
        raise UserError(text, f"See `{self.prog} --help`.")


def common(parser: argparse.ArgumentParser) -> None:
    """The options that hold for every verb."""
    group = parser.add_argument_group("options for every verb")
    group.add_argument("-h", "--help", action="help", help="show this help and leave")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else")
    group.add_argument("-q", "--quiet", action="store_true", help="print only ids")
    group.add_argument("--no-input", action="store_true", help="never ask; what would be asked is decided or refused")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv adds tracebacks to errors")
    group.add_argument("--no-color", action="store_true", help="no colours (also: NO_COLOR in the environment)")
    group.add_argument("--username", metavar="NAME", help="log in to the cluster as NAME")
    group.add_argument("--private-key", metavar="FILE", help="log in to the cluster with this key")


def locate(words: Sequence[str]) -> "Call | None":
    """Find the verb; options for every verb may stand before it. None: no verb and nothing else either."""
    position = 0
    while position < len(words):
        word = words[position]
        if word in GLOBAL_VALUES:
            position += 2
        elif word in GLOBAL_FLAGS or word.startswith(tuple(f"{name}=" for name in GLOBAL_VALUES)) or _bundle(word):
            position += 1
        elif word.startswith("-") and word != "-":
            return Call(SHORT_FORM, list(words))
        else:
            return _verb(words, position)
    return None


def _bundle(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and word[1] != "-" and set(word[1:]) <= set(GLOBAL_SHORT)


def _verb(words: Sequence[str], position: int) -> Call:
    name = words[position]
    rest = [*words[:position], *words[position + 1 :]]
    if name in BY_NAME:
        return Call(BY_NAME[name], rest)
    if name in FAMILIES:
        return _member(name, rest)
    known = [verb.name.split()[0] for verb in VERBS]
    message = f"There is no verb {name!r}."
    raise UserError(message, did_you_mean(name, known, 2) or f"See `{program()} --help`.")


def _member(family: str, rest: list[str]) -> Call:
    """`clusters show x` → the verb `clusters show`; `clusters` alone lists."""
    for at, word in enumerate(rest):
        if word.startswith("-"):
            continue
        name = f"{family} {word}"
        if name in BY_NAME:
            return Call(BY_NAME[name], [*rest[:at], *rest[at + 1 :]])
        if at and rest[at - 1] in GLOBAL_VALUES:
            continue
        members = [verb.name.split()[1] for verb in VERBS if verb.name.startswith(family + " ")]
        message = f"There is no verb {name!r}."
        raise UserError(message, did_you_mean(word, members) or f"There are: {', '.join(members)}.")
    if {"-h", "--help"} & set(rest):
        return Call(Verb(family, "", "", ""), rest)
    return Call(BY_NAME[FAMILIES[family]], rest)


def parse(call: Call) -> "tuple[argparse.Namespace, Callable[..., object]]":
    """The options of a call, and the function that carries it out."""
    module = importlib.import_module(f"project.commands.{call.verb.module}")
    prog = f"{program()} {call.verb.name}".rstrip()
    parser = Parser(
        prog=prog,
        usage=f"{prog} [options] {call.verb.usage}".rstrip(),
        description="\n".join(wrap((module.__doc__ or "").strip(), 79)),
        epilog=getattr(module, "EXAMPLES", "").replace("{prog}", program()) or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    module.arguments(parser)
    common(parser)
    args = parser.parse_intermixed_args(call.words)
    return args, module.run


def overview(family: str = "") -> str:
    """The help of the whole program, or of a family of verbs."""
    prog = program()
    lines = [f"usage: {prog} {family or 'VERB'} ...", ""]
    if not family:
        lines = [
            f"usage: {prog} -u FILE [-m MODULES]    submit the job that FILE describes",
            f"       {prog} -r UUID                 fetch the output of a job",
            f"       {prog} VERB ...",
            "",
            "jobferry: one YAML, any cluster.",
            "",
        ]
    group = ""
    for verb in VERBS:
        if family and not verb.name.startswith(family + " "):
            continue
        if verb.group != group:
            group = verb.group
            lines.append(f"{group}:")
        lines.append(f"  {verb.name:<17}{verb.summary}")
    options = Parser(add_help=False, prog=prog, usage=argparse.SUPPRESS)
    if not family:
        short = options.add_argument_group("without a verb")
        short.add_argument("-u", "--user", metavar="FILE", help="submit the job that FILE describes")
        short.add_argument("-m", "--module", metavar="MODULES", help="with the modules of this file")
        short.add_argument("-r", "--retrieve", metavar="UUID", help="fetch the output into this folder")
        short.add_argument("--version", action="store_true", help="print the version and leave")
    common(options)
    lines += ["", options.format_help().rstrip(), ""]
    return "\n".join(lines) + ("\n" + EPILOG.replace("{prog}", prog) if not family else "")


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the program and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    output = Output.from_words(words)
    try:
        code = _run(words, output)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return output.error(Interrupted("Interrupted.", output.resume_hint()))
    except BrokenPipeError:
        # The reader of our stdout (`head`) has seen enough.
        output.abandon()
        return 0
    except JobferryError as error:
        if isinstance(error, Interrupted) and not error.hint:
            error.hint = output.resume_hint()
        return output.error(error)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except Exception as error:  # the last line of defence: a bug gets one paragraph and exit code 70
        message = f"jobferry has a bug: {type(error).__name__}: {error}."
        bug = Bug(message, "Please report it with the output of the same call and `-vv`.")
        bug.__cause__ = error
        return output.error(bug)


def _run(words: list[str], output: Output) -> int:
    if "--version" in words:
        output.line(f"jobferry {__version__}")
        return 0
    call = locate(words)
    if call is None or not call.verb.module:
        asked = bool({"-h", "--help"} & set(words)) or call is not None
        if not asked:
            raise UserError(
                "Nothing to do.", f"`{program()} -u FILE` submits a job, `{program()} --help` shows the rest."
            )
        output.help(overview(call.verb.name if call else ""))
        return 0
    if call.verb is SHORT_FORM and any(_asks_help(word) for word in words):
        output.help(overview())
        return 0
    args, run = parse(call)
    output.adopt(args)
    from project.commands.base import Session

    with closing(Session(args, output)) as session:
        return output.answer(run(session))


def _asks_help(word: str) -> bool:
    return word == "--help" or (_bundle(word) and "h" in word)
