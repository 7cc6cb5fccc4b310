"""What a GraphQL operation costs, counted from its text before anything is read for it.

The limiters that come with the library go through a fragment again wherever it is spread, so that
a line of text keeps them busy for hours, and a list costs them no more than a number. Here each
fragment is weighed once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_object_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

ROOT = 100  # a field of Query or Mutation, which goes to the database; most others cost 1
READS = {"reads": True}  # the metadata of those below that go there again, and cost as much
ROWS = 50  # how often what is below a list counts: as often as the longest page has rows
MOST = 2000  # for a page of the longest list with all its fields
DEEPEST = 6
MOST_TOKENS = 600


@dataclass(frozen=True, slots=True)
class Weight:
    """What a part of an operation costs, and how many levels it has."""

    cost: int = 0
    depth: int = 0


class Scales(ValidationRule):
    """Refuses operations that cost too much or go too deep; tells `note` what each costs.

    What describes the schema costs nothing: the library limits how deep that goes.
    """

    def __init__(self, context: ValidationContext, *, note: Callable[[int], None]) -> None:
        super().__init__(context)
        self.note = note
        self.fragments: dict[str, Weight] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        """Weigh an operation."""
        root = self.context.schema.get_root_type(node.operation)
        weight = self._of_set(node.selection_set, root)
        self.note(weight.cost)
        if weight.cost > MOST:
            self._refuse(f"This costs {weight.cost}, and at most {MOST}.", "too_costly", node)
        if weight.depth > DEEPEST:
            self._refuse(
                f"This has {weight.depth} levels, and at most {DEEPEST}.", "too_deep", node
            )

    def _refuse(self, text: str, code: str, node: OperationDefinitionNode) -> None:
        self.report_error(GraphQLError(text, node, extensions={"code": code}))

    def _of_set(self, chosen: SelectionSetNode, parent: GraphQLNamedType | None) -> Weight:
        cost = depth = 0
        for one in chosen.selections:
            if isinstance(one, FieldNode):
                weight = self._of_field(one, parent)
            elif isinstance(one, FragmentSpreadNode):
                weight = self._of_fragment(one.name.value)
            else:
                assert isinstance(one, InlineFragmentNode)
                weight = self._of_set(one.selection_set, parent)
            cost += weight.cost
            depth = max(depth, weight.depth)
        return Weight(cost, depth)

    def _of_field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Weight:
        name = node.name.value
        if name.startswith("__"):
            return Weight()
        fields = parent.fields if isinstance(parent, GraphQLObjectType) else {}
        kind = fields[name].type if name in fields else None  # other rules refuse what is unknown
        named = get_named_type(kind) if kind else None
        below = self._of_set(node.selection_set, named) if node.selection_set else Weight()
        rows = ROWS if is_list_type(get_nullable_type(kind)) and is_object_type(named) else 1
        roots = self.context.schema.query_type, self.context.schema.mutation_type
        own = ROOT if parent in roots or reads(field=fields.get(name)) else 1
        return Weight(own + rows * below.cost, 1 + below.depth)

    def _of_fragment(self, name: str) -> Weight:
        if name not in self.fragments:
            self.fragments[name] = Weight()  # other rules refuse one that contains itself
            fragment = self.context.get_fragment(name)
            if fragment is not None:
                parent = self.context.schema.get_type(fragment.type_condition.name.value)
                self.fragments[name] = self._of_set(fragment.selection_set, parent)
        return self.fragments[name]


def reads(*, field: GraphQLField | None) -> bool:
    """Say whether a field below those of Query and Mutation goes to the database for itself."""
    told: Any = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF) if field else None
    return told is not None and READS.items() <= told.metadata.items()
