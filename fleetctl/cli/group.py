"""Verbs as Typer runs them: those that have verbs of their own, and those that select boards."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

from fleetctl.errors import UsageError


class Verb(TyperCommand):
    """Typer's command, which would take the last of several `--on`: of two exclusions, one would hold."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        rest: list[str] = super().parse_args(ctx, args)
        said = sum(word.partition("=")[0] == "--on" for word in words)
        if said > 1 and not ctx.resilient_parsing and self._selects_twice(ctx, words):
            raise UsageError("--on is given twice", hint="put commas between its terms: `--on A,B,!C`")
        return rest

    def _selects_twice(self, ctx: Any, words: list[str]) -> bool:
        """Whether both are options: behind `--` stands a command of the user's own."""
        _, _, given = self.make_parser(ctx).parse_args(args=words)
        return [param.name for param in given].count("on") > 1


class Verbs(TyperGroup):
    """Typer's group, which would cut what verbs do at some forty characters, and hint at no misspelt one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "subcommand_metavar": "VERB ..."})  # as it says everywhere else

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Verbs"):
            formatter.write_dl([(name, _first_sentence(verb.help or "")) for name, verb in verbs if verb])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], known, 1)
            ctx.fail(f"no verb {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)


def _first_sentence(text: str) -> str:
    sentence, _, _ = " ".join(text.split("\n\n")[0].split()).partition(". ")
    return sentence.removesuffix(".") + "."
