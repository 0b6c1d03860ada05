"""JQL as far as it is needed, parsed and evaluated for real, with Jira's words for what is wrong.

`Query(text)` parses (JqlError), `query.select(view, issues, user)` checks names and values against what
the instance has (JqlError too), filters and sorts. As in Jira, `!=`, `NOT IN` and `NOT (…)` leave out
issues whose field is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tests.fakes.jira_state import (
    CATEGORIES,
    ISSUE_TYPES,
    PRIORITIES,
    RANK,
    RESOLUTIONS,
    SPRINT,
    Data,
    Issue,
    State,
    User,
)


class JqlError(Exception):
    """`args` are the messages."""


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<unclosed>["'].*)
    |(?P<operator>!=|!~|<=|>=|=|~|<|>|!|&&|\|\||&|\|)
    |(?P<punctuation>[(),])
    |(?P<word>(?:[^\s"'=!<>~(),&|{}*/%+^$\#@?;\[\]\\]|\\.)+)
    |(?P<reserved>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = "'=', '!=', '<', '>', '<=', '>=', '~', '!~', 'IN', 'NOT IN', 'IS' and 'IS NOT'"
_RESERVED_WORDS = frozenset(("and", "or", "not", "in", "is", "empty", "null", "order", "by", "was", "changed"))
_NEGATED = {"=": "!=", "~": "!~", "<": ">=", ">": "<=", "in": "not in", "is": "is not"}
_NEGATED |= {negative: positive for positive, negative in _NEGATED.items()}
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}( \d{1,2}:\d{2})?")
_AGO = re.compile(r"([+-]?\d+)([wdhm])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
_EQUALITY = ("=", "!=", "in", "not in", "is", "is not")
_ORDERED = (*_EQUALITY, "<", ">", "<=", ">=")
EMPTY = object()


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int

    @property
    def lower(self) -> str:
        return self.text.lower() if self.kind in ("word", "operator", "punctuation") else ""


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    name: str
    arguments: tuple[str, ...]


Operand = str | Call | object


@dataclass(frozen=True)
class Clause:
    field: str
    operator: str
    operands: tuple[Operand, ...]

    def negated(self) -> Clause:
        return replace(self, operator=_NEGATED[self.operator])


@dataclass(frozen=True)
class Group:
    every: bool
    parts: tuple[Clause | Group, ...]

    def negated(self) -> Group:
        return Group(not self.every, tuple(part.negated() for part in self.parts))


class Query:
    """A parsed query."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self.where: Clause | Group | None = None
        self.order: list[tuple[str, bool]] = []
        """(field, descending)."""
        if not self._is("order") and self._next < len(self._tokens):
            self.where = self._any()
        if self._is("order"):
            self._ordering()
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            self._fail(f"Expecting either 'OR' or 'AND' but got '{token.text}'.", token)

    # --- parsing ------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _is(self, *words: str) -> bool:
        token = self._peek()
        return token is not None and token.lower in words

    def _take(self, expected: str) -> Token:
        token = self._peek()
        if token is None:
            raise JqlError(f"Error in JQL Query: Expecting {expected} at the end of the query.")
        self._next += 1
        return token

    def _fail(self, message: str, token: Token) -> None:
        before = self.text[: token.at]
        line, column = before.count("\n") + 1, token.at - (before.rfind("\n") + 1) + 1
        raise JqlError(f"Error in the JQL Query: {message} (line {line}, character {column})")

    def _any(self) -> Clause | Group:
        parts = [self._every()]
        while self._is("or", "||", "|"):
            self._next += 1
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Group(False, tuple(parts))

    def _every(self) -> Clause | Group:
        parts = [self._one()]
        while self._is("and", "&&", "&"):
            self._next += 1
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Group(True, tuple(parts))

    def _one(self) -> Clause | Group:
        if self._is("not", "!"):
            self._next += 1
            return self._one().negated()
        if self._is("("):
            self._next += 1
            inner = self._any()
            token = self._take("')'")
            if token.text != ")":
                self._fail(f"Expecting ')' but got '{token.text}'.", token)
            return inner
        return self._clause()

    def _name(self, what: str) -> str:
        token = self._take(what)
        if token.kind == "word" and token.lower in _RESERVED_WORDS:
            hint = "You must surround it in quotation marks to use it in a query."
            self._fail(f"Expecting {what} but got '{token.text}'. '{token.text}' is a reserved JQL word. {hint}", token)
        if token.kind not in ("word", "quoted"):
            self._fail(f"Expecting {what} but got '{token.text}'.", token)
        return _plain(token)

    def _clause(self) -> Clause:
        field = self._name("a field name")
        token = self._take("an operator")
        operator = token.lower
        if operator == "not":
            token = self._take("'IN'")
            operator = f"not {token.lower}"
        elif operator == "is" and self._is("not"):
            self._next += 1
            operator = "is not"
        if operator not in (*_ORDERED, "~", "!~"):
            self._fail(f"Expecting operator but got '{token.text}'. The valid operators are {_OPERATORS}.", token)
        if operator in ("in", "not in"):
            return Clause(field, operator, self._operands())
        operand = self._operand()
        if operator in ("is", "is not") and operand is not EMPTY:
            raise JqlError(f"The operator '{operator}' can only be used with the values 'EMPTY' or 'NULL'.")
        return Clause(field, operator, (operand,))

    def _operands(self) -> tuple[Operand, ...]:
        if not self._is("("):
            return (self._operand(),)  # `sprint in openSprints()`
        self._next += 1
        operands = [self._operand()]
        while self._is(","):
            self._next += 1
            operands.append(self._operand())
        token = self._take("')'")
        if token.text != ")":
            self._fail(f"Expecting either ',' or ')' but got '{token.text}'.", token)
        return tuple(operands)

    def _operand(self) -> Operand:
        token = self._peek()
        if token is not None and token.lower in ("empty", "null"):
            self._next += 1
            return EMPTY
        name = self._name("either a value, list or function")
        if token is None or not self._is("("):
            return name
        self._next += 1
        arguments: list[str] = []
        while not self._is(")"):
            arguments.append(self._name("a function argument"))
            if not self._is(",", ")"):
                self._fail("Expecting ')' but got something else.", self._take("')'"))
            if self._is(","):
                self._next += 1
        self._next += 1
        return Call(name, tuple(arguments))

    def _ordering(self) -> None:
        self._next += 1
        token = self._take("'BY'")
        if token.lower != "by":
            self._fail(f"Expecting 'BY' but got '{token.text}'.", token)
        while True:
            field = self._name("a field name")
            self.order.append((field, self._is("desc")))
            if self._is("asc", "desc"):
                self._next += 1
            if not self._is(","):
                return
            self._next += 1

    # --- evaluating ---------------------------------------------------------------------------

    def select(self, view: View, issues: Iterable[Issue]) -> list[Issue]:
        """Those that match, in order. JqlError names all fields and values that the instance hasn't."""
        wrong: list[str] = []
        for clause in _clauses(self.where):
            wrong += view.complaints(clause)
        for field, _ in self.order:
            if view.field(field) is None:
                wrong.append(f"Not able to sort using field '{field}'.")
        if wrong:
            raise JqlError(*dict.fromkeys(wrong))
        found = [issue for issue in issues if self.where is None or view.fits(issue, self.where)]
        found.sort(key=lambda issue: -int(issue.id))  # as Jira does without ORDER BY: the newest first
        for field, descending in reversed(self.order):
            found.sort(key=view.sorter(field), reverse=descending)
        return found


def _tokens(text: str) -> Iterable[Token]:
    for match in _TOKEN.finditer(text):
        kind, found = str(match.lastgroup), match.group()
        where = f"(line 1, character {match.start() + 1})"
        if kind == "unclosed":
            raise JqlError(f"Error in the JQL Query: The quoted string '{found[1:]}' has not been completed. {where}")
        if kind == "reserved":
            raise JqlError(
                f"Error in the JQL Query: The character '{found}' is a reserved JQL character. You must enclose it "
                f"in a string or use the escape '\\u{ord(found):04x}' instead. {where}"
            )
        if kind != "space":
            yield Token(kind, found, match.start())


def _plain(token: Token) -> str:
    text = token.text[1:-1] if token.kind == "quoted" else token.text
    return re.sub(r"\\(.)", r"\1", text)


def _clauses(node: Clause | Group | None) -> list[Clause]:
    if isinstance(node, Group):
        return [clause for part in node.parts for clause in _clauses(part)]
    return [] if node is None else [node]


class View:
    """What one user sees of the instance, as JQL asks for it."""

    def __init__(self, state: State, data: Data, user: User | None) -> None:
        self.state, self.data, self.user = state, data, user
        self._fields = {
            "key": "key",
            "issuekey": "key",
            "issue": "key",
            "id": "key",
            "project": "project",
            "status": "status",
            "statuscategory": "statusCategory",
            "labels": "labels",
            "assignee": "assignee",
            "reporter": "reporter",
            "resolution": "resolution",
            "sprint": "sprint",
            SPRINT: "sprint",
            "issuetype": "issuetype",
            "type": "issuetype",
            "parent": "parent",
            "priority": "priority",
            "created": "created",
            "createddate": "created",
            "updated": "updated",
            "updateddate": "updated",
            "rank": "rank",
            RANK: "rank",
            "summary": "summary",
            "text": "text",
            "description": "description",
        }

    def field(self, name: str) -> str | None:
        return self._fields.get(name.lower())

    def complaints(self, clause: Clause) -> list[str]:
        field = self.field(clause.field)
        if self.user is None and not self.state.cloud:
            return [f"Field '{clause.field}' does not exist or this field cannot be viewed by anonymous users."]
        if field is None:
            return [f"Field '{clause.field}' does not exist or you do not have permission to view it."]
        if clause.operator not in _operators(field):
            return [f"The operator '{clause.operator}' is not supported by the '{clause.field}' field."]
        wrong = []
        for operand in clause.operands:
            if isinstance(operand, Call):
                if (field, operand.name.lower()) not in _FUNCTIONS:
                    wrong.append(f"Unable to find JQL function '{operand.name}({', '.join(operand.arguments)})'.")
            elif isinstance(operand, str) and not self._known(field, operand):
                if field in ("key", "parent"):
                    wrong.append(f"An issue with key '{operand}' does not exist for field '{clause.field}'.")
                elif field in ("created", "updated"):
                    wrong.append(
                        f"Date value '{operand}' for field '{clause.field}' is invalid. Valid formats include: "
                        "'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format "
                        "e.g. '-5d', '4w 2d'."
                    )
                else:
                    wrong.append(f"The value '{operand}' does not exist for the field '{clause.field}'.")
        return wrong

    def _known(self, field: str, value: str) -> bool:
        lower = value.lower()
        match field:
            case "key" | "parent":
                issue = self.data.find(value)
                return issue is not None and self.sees(issue)
            case "project":
                return (
                    self.user is not None
                    and "BROWSE_PROJECTS" in self.user.permissions
                    and any(lower in (key.lower(), name.lower()) for key, name in self.state.projects.items())
                )
            case "status":
                return any(lower in (status.name.lower(), status.id) for status in self.state.workflow.statuses)
            case "statusCategory":
                return any(lower in (key, name.lower(), str(number)) for key, (number, name, _) in CATEGORIES.items())
            case "assignee" | "reporter":
                return self._person(value) is not None
            case "resolution":
                return lower in ("unresolved", *(name.lower() for name in RESOLUTIONS))
            case "sprint":
                return any(lower in (sprint.name.lower(), str(sprint.id)) for sprint in self.state.sprints.values())
            case "issuetype":
                return lower in (name.lower() for name in ISSUE_TYPES)
            case "priority":
                return lower in (name.lower() for name in PRIORITIES)
            case "created" | "updated":
                return bool(_DATE.fullmatch(value) or _AGO.fullmatch(value))
            case _:
                return True

    def _person(self, value: str) -> User | None:
        for user in self.state.users.values():
            names = (user.account_id, user.email) if self.state.cloud else (user.name, user.email)
            if value.lower() in (*(name.lower() for name in names), user.display_name.lower()):
                return user
        return None

    def sees(self, issue: Issue) -> bool:
        if self.user is None or "BROWSE_PROJECTS" not in self.user.permissions:
            return False
        return self.user.name not in issue.hidden_from

    def fits(self, issue: Issue, node: Clause | Group) -> bool:
        if isinstance(node, Group):
            return (all if node.every else any)(self.fits(issue, part) for part in node.parts)
        field = str(self.field(node.field))
        if field in ("created", "updated"):
            return self._in_time(issue, field, node)
        if field in ("summary", "text", "description"):
            return self._has_words(issue, field, node)
        if field == "priority" and node.operator in ("<", ">", "<=", ">="):
            return self._more_urgent(issue, node)
        has = self.values(issue, field)
        wanted: set[str] = set()
        empty = False
        for operand in node.operands:
            if operand is EMPTY or (field == "resolution" and str(operand).lower() == "unresolved"):
                empty = True
            else:
                wanted |= self._wanted(field, operand)
        positive = (empty and not has) or bool(wanted & has)
        if node.operator in ("=", "in", "is"):
            return positive
        return bool(has) and not (wanted & has) if not empty else bool(has) and not positive

    def values(self, issue: Issue, field: str) -> set[str]:
        """What the issue has in a field, in one spelling; nothing: it is empty."""
        match field:
            case "key":
                return {issue.key.lower()}
            case "project":
                return {issue.project.lower()}
            case "status":
                return {issue.status.lower()}
            case "statusCategory":
                return {self.state.workflow.status(issue.status).category}
            case "labels":
                return {label.lower() for label in issue.labels}
            case "sprint":
                return {str(number) for number in issue.sprints}
        value = getattr(issue, field)
        return {str(value).lower()} if value else set()

    def _wanted(self, field: str, operand: Operand) -> set[str]:
        if isinstance(operand, Call):
            return _FUNCTIONS[field, operand.name.lower()](self, operand.arguments)
        value = str(operand).lower()
        match field:
            case "key" | "parent":
                issue = self.data.find(value)
                return {issue.key.lower()} if issue else set()
            case "project":
                return {
                    key.lower() for key, name in self.state.projects.items() if value in (key.lower(), name.lower())
                }
            case "status":
                return {s.name.lower() for s in self.state.workflow.statuses if value in (s.name.lower(), s.id)}
            case "statusCategory":
                return {
                    key for key, (number, name, _) in CATEGORIES.items() if value in (key, name.lower(), str(number))
                }
            case "sprint":
                return {str(s.id) for s in self.state.sprints.values() if value in (s.name.lower(), str(s.id))}
            case "assignee" | "reporter":
                person = self._person(value)
                return {person.name.lower()} if person else set()
        return {value}

    def sprints(self, state: str) -> set[str]:
        return {str(sprint.id) for sprint in self.state.sprints.values() if sprint.state == state}

    def _in_time(self, issue: Issue, field: str, clause: Clause) -> bool:
        has: datetime = getattr(issue, field)
        operand = clause.operands[0]
        if not isinstance(operand, str):
            return clause.operator == "is not" or (isinstance(operand, Call) and clause.operator in ("<", "<="))
        ago = _AGO.fullmatch(operand)
        if ago:
            then = datetime.now(UTC) + timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            form = "%Y-%m-%d %H:%M" if " " in operand else "%Y-%m-%d"
            then = datetime.strptime(operand.replace("/", "-"), form).replace(tzinfo=UTC)
        tests = {"<": has < then, "<=": has <= then, ">": has > then, ">=": has >= then}
        return tests.get(clause.operator, (has == then) == (clause.operator in ("=", "in")))

    def _has_words(self, issue: Issue, field: str, clause: Clause) -> bool:
        text = f"{issue.summary} {issue.description}" if field == "text" else str(getattr(issue, field) or "")
        if clause.operator in ("is", "is not"):
            return bool(text.strip()) == (clause.operator == "is not")
        words = re.findall(r"\w+", str(clause.operands[0]).lower())
        has = set(re.findall(r"\w+", text.lower()))
        return all(word in has for word in words) == (clause.operator == "~")

    def _more_urgent(self, issue: Issue, clause: Clause) -> bool:
        ranks = {name.lower(): -index for index, name in enumerate(PRIORITIES)}
        if not issue.priority:
            return False
        has, then = ranks[issue.priority.lower()], ranks[str(clause.operands[0]).lower()]
        return {"<": has < then, "<=": has <= then, ">": has > then, ">=": has >= then}[clause.operator]

    def sorter(self, name: str) -> Callable[[Issue], tuple[int, float, str]]:
        """Ascending; priority ascending is the least urgent first, as in Jira."""
        field = self.field(name)

        def key(issue: Issue) -> tuple[int, float, str]:
            match field:
                case "rank":
                    return (0, issue.rank, "")
                case "created" | "updated":
                    return (0, getattr(issue, field).timestamp(), "")
                case "priority":
                    return (0, -PRIORITIES.index(issue.priority), "") if issue.priority else (0, -9, "")
                case "key":
                    return (0, int(issue.key.rpartition("-")[2]), issue.project)
                case "status":
                    names = [status.name for status in self.state.workflow.statuses]
                    return (0, names.index(issue.status), "")
            return (0, 0, " ".join(sorted(self.values(issue, str(field)))))

        return key


def _operators(field: str) -> tuple[str, ...]:
    if field in ("summary", "text", "description"):
        return ("~", "!~") if field == "text" else ("~", "!~", "is", "is not")
    if field in ("created", "updated", "priority"):
        return _ORDERED
    if field == "rank":
        return ()
    return _EQUALITY


def _current_user(view: View, arguments: tuple[str, ...]) -> set[str]:
    return {view.user.name.lower()} if view.user else set()


def _members(view: View, arguments: tuple[str, ...]) -> set[str]:
    wanted = {argument.lower() for argument in arguments}
    return {
        user.name.lower() for user in view.state.users.values() if wanted & {group.lower() for group in user.groups}
    }


def _linked(view: View, arguments: tuple[str, ...]) -> set[str]:
    issue = view.data.find(arguments[0])
    ends = [(link.source, link.target) for link in view.data.links]
    there = {end for pair in ends if issue and issue.key in pair for end in pair if end != issue.key}
    return {key.lower() for key in there}


_FUNCTIONS: dict[tuple[str, str], Callable[[View, tuple[str, ...]], set[str]]] = {
    ("assignee", "currentuser"): _current_user,
    ("reporter", "currentuser"): _current_user,
    ("assignee", "membersof"): _members,
    ("reporter", "membersof"): _members,
    ("sprint", "opensprints"): lambda view, _: view.sprints("active"),
    ("sprint", "futuresprints"): lambda view, _: view.sprints("future"),
    ("sprint", "closedsprints"): lambda view, _: view.sprints("closed"),
    ("issuetype", "subtaskissuetypes"): lambda view, _: {"sub-task"},
    ("issuetype", "standardissuetypes"): lambda view, _: {name.lower() for name in ISSUE_TYPES[:-1]},
    ("key", "linkedissues"): _linked,
    ("created", "now"): lambda view, _: set(),
    ("updated", "now"): lambda view, _: set(),
}
