"""The relations that a statement names, read from pg_query's JSON tree: an implementation of its own, to judge the classifier's by.

Which fields of a node are nodes themselves is taken from PostgreSQL's headers, so that nothing is left out because nobody
thought of it: every RangeVar anywhere in the tree counts, unless a rule here says why not. Source of the scoping rules:
PostgreSQL manual, "WITH Queries" and "The Locking Clause"."""

import pathlib
import re

HEADERS = pathlib.Path("/usr/include/postgresql/15/server/nodes")
READ, LOCK, DDL, WRITE = range(4)
ACCESS = {"read": READ, "lock": LOCK, "ddl": DDL, "write": WRITE}

QUERIES = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
WRITES = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
# Of other statements: what they name is changed in its structure, but for these.
READING = {("LockStmt", "relations"), ("VacuumRelation", "relation"), ("ClusterStmt", "relation"), ("TableLikeClause", "relation"),
           ("CreateTrigStmt", "constrrel"), ("CopyStmt", "relation")}
# RangeVars that name no relation: aliases of the FROM list, constraints, a type that is made; what is not imported.
NO_RELATION = {("LockingClause", "lockedRels"), ("ConstraintsSetStmt", "constraints"), ("CompositeTypeStmt", "typevar")}
NAMED_WHOLLY = {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_SEQUENCE", "OBJECT_INDEX"}
NAMED_BEFORE_LAST = {"OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"}
# Where a function takes a relation's name as text, counted from the front or the back; True: a type's name.
BY_NAME = {"nextval": 0, "setval": 0, "currval": 0, "to_regclass": 0, "regclass": 0, "pg_table_size": 0, "pg_relation_size": 0,
           "pg_total_relation_size": 0, "pg_get_serial_sequence": 0, "has_table_privilege": -2, "has_any_column_privilege": -2,
           "has_column_privilege": -3, "to_regtype": 0, "has_sequence_privilege": -2, "pg_indexes_size": 0,
           "pg_sequence_last_value": 0, "row_security_active": 0}
# Types of the server's own that the trees name without a schema and whose names a table hardly has.
OWN_TYPES = {"jsonb", "name", "oid", "regclass", "regtype", "text", "timestamptz", "trigger"}


def read_fields():
    """{node: {field: the node that it points to or holds}} of the headers of the parse tree."""
    fields = {}
    for header in ("value.h", "primnodes.h", "parsenodes.h"):
        text = re.sub(r"/\*.*?\*/", "", (HEADERS / header).read_text(), flags=re.S)
        for name, body in re.findall(r"struct (\w+)\s*\{(.*?)\n\}\s*\w*;", text, re.S):
            fields[name] = {field: kind for kind, field in re.findall(r"(\w+)\s+\*?(\w+);", body)}
    return fields


FIELDS = read_fields()


def children(kind, node):
    """(field, kind, node) of every node below this one, in the order of the JSON."""
    for field, value in node.items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, dict):
                continue
            declared = FIELDS.get(kind, {}).get(field)
            if declared in FIELDS and declared not in ("Node", "List", "Expr") and not isinstance(value, list):
                yield field, declared, item
            else:
                for below, inner in item.items():
                    yield field, below, inner


def strings(items):
    return [item["String"].get("sval", "") for item in items if "String" in item]


def listed(node):
    """The strings of a name, however the tree holds it."""
    if "List" in node:
        return strings(node["List"]["items"])
    if "TypeName" in node:
        return strings(node["TypeName"]["names"])
    return [node["String"].get("sval", "")] if "String" in node else []


def constant(node):
    """The text of a string constant, behind casts, COLLATE and an argument's name; None: something else."""
    while node and next(iter(node)) in ("TypeCast", "NamedArgExpr", "CollateClause"):
        node = next(iter(node.values())).get("arg")
    return node["A_Const"].get("sval", {}).get("sval") if node and "A_Const" in node else None


def names_in(text):
    """The names that regclassin() would read, of an array's text each."""
    for part in text[1:-1].replace('"', "").split(",") if text.startswith("{") else [text]:
        names = [name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in re.findall(r'"(?:[^"]|"")*"|[^."]+', part)]
        if not names[-1].isdigit():  # an oid
            yield (names[-2] if len(names) > 1 else None), names[-1]


def sides(assignment):
    """What stands before and behind the := or = of an assignment, which are outside brackets."""
    depth = 0
    for place, character in enumerate(assignment):
        depth += (character in "[(") - (character in "])")
        if character == "=" and depth == 0:
            return assignment[:place].rstrip(": "), assignment[place + 1:]
    raise AssertionError(assignment)


class Found:
    """What one text names: {(schema, name): access}, and apart from it the names of types and in strings."""

    def __init__(self):
        self.relations, self.loose, self.places, self.nodes = {}, set(), {}, set()
        self.bodies = 0

    def add(self, schema, name, access, place=None):
        key = (schema or None, name)
        self.relations[key] = max(access, self.relations.get(key, READ))
        if place is not None and not self.bodies:
            self.places.setdefault(key, []).append(place)


class Walk:
    def __init__(self, parse, parse_plpgsql):
        self.parse, self.parse_plpgsql = parse, parse_plpgsql

    def statement(self, tree, text):
        self.found, self.text = Found(), text
        for raw in tree["stmts"]:
            self.wrapped(raw["stmt"], {})
        return self.found

    def wrapped(self, node, place):
        for kind, inner in node.items():
            self.visit(kind, inner, place)

    def below(self, kind, node, place, *without):
        for field, inner_kind, inner in children(kind, node):
            if field not in without:
                self.visit(inner_kind, inner, dict(place, parent=kind, field=field))

    def visit(self, kind, node, place):
        self.found.nodes.add(kind)
        if re.match("Create|Alter|ViewStmt|RuleStmt|IndexStmt", kind) and kind not in ("CreateTableAsStmt", "CreateFunctionStmt", "CreateSchemaStmt"):
            place = dict(place, quiet=True)  # looked at, not executed now
        method = getattr(self, "visit_" + kind, None)
        if kind in QUERIES:
            self.query(kind, node, place)
        elif method:
            method(node, place)
        else:
            self.below(kind, node, place)

    # -- queries --

    def query(self, kind, node, place):
        seen = self.enter_with(node, place)
        inner = {"ctes": seen, "query": True, "quiet": place.get("quiet")}
        locking = [clause["LockingClause"] for clause in node.get("lockingClause", [])]
        for field, below, item in children(kind, node):
            if field == "withClause":
                self.found.nodes.add("WithClause")
                continue
            here = dict(inner, parent=kind, field=field)
            if field == "fromClause" and kind == "SelectStmt":
                here["locking"], here["locked"] = locking, place.get("locked")
            elif kind == "SelectStmt" and field in ("larg", "rarg"):
                here["locked"] = place.get("locked") or bool(locking)
            elif field == "relation" and kind in WRITES:
                here = {"target": WRITE, "quiet": place.get("quiet")}
            self.visit(below, item, here)

    def enter_with(self, node, place):
        """Each query of WITH sees those before it, with RECURSIVE all; gives what the rest sees."""
        outer, clause = place.get("ctes", frozenset()), node.get("withClause")
        if not clause:
            return outer
        names = [cte["CommonTableExpr"]["ctename"] for cte in clause["ctes"]]
        for index, cte in enumerate(clause["ctes"]):
            visible = outer | frozenset(names if clause.get("recursive") else names[:index])
            self.found.nodes.add("CommonTableExpr")
            self.below("CommonTableExpr", cte["CommonTableExpr"], {"ctes": visible, "query": True, "quiet": place.get("quiet")})
        return outer | frozenset(names)

    @staticmethod
    def is_locked(place, name):
        if place.get("locked"):
            return True
        return any(not clause.get("lockedRels") or name in [item["RangeVar"]["relname"] for item in clause["lockedRels"]]
                   for clause in place.get("locking", []))

    def visit_JoinExpr(self, node, place):
        self.below("JoinExpr", node, place, "quals")
        if "quals" in node:
            self.wrapped(node["quals"], dict(place, locking=[], locked=False))

    def visit_RangeTableSample(self, node, place):
        self.wrapped(node["relation"], place)
        self.below("RangeTableSample", node, dict(place, locking=[], locked=False), "relation")

    def visit_RangeSubselect(self, node, place):
        locked = self.is_locked(place, node.get("alias", {}).get("aliasname"))
        self.below("RangeSubselect", node, dict(place, locking=[], locked=locked))

    def visit_RangeFunction(self, node, place):
        self.below("RangeFunction", node, dict(place, locking=[], locked=False))

    visit_RangeTableFunc = lambda self, node, place: self.below("RangeTableFunc", node, dict(place, locking=[], locked=False))

    # -- relations --

    def visit_RangeVar(self, node, place):
        if "alias" in node:
            self.found.nodes.add("Alias")
        where = (place.get("parent"), place.get("field"))
        schema, name = node.get("schemaname"), node["relname"]
        if where in NO_RELATION:
            return
        if place.get("query") and not schema and name in place["ctes"]:
            return
        access = DDL
        if "target" in place:
            access = place["target"]
        elif place.get("query") and where != ("IntoClause", "rel"):
            access = LOCK if self.is_locked(place, node.get("alias", {}).get("aliasname", name)) else READ
        elif where in READING:
            access = READ
        if place.get("quiet") and access in (LOCK, WRITE):
            access = READ
        self.found.add(schema, name, access, node.get("location", 0))

    def visit_TypeName(self, node, place):
        names = strings(node.get("names", []))
        if node.get("pct_type"):
            names = names[:-1]
        if names and names[-2:-1] != ["pg_catalog"] and not (len(names) == 1 and names[0] in OWN_TYPES):
            self.found.loose.add((names[-2] if len(names) > 1 else None, names[-1]))
        self.below("TypeName", node, place)

    # -- names in strings --

    def visit_TypeCast(self, node, place):
        to = strings(node["typeName"]["names"])[-1]
        if to in ("regclass", "regtype"):
            elements = node["arg"].get("A_ArrayExpr", {}).get("elements", [node["arg"]])
            for text in map(constant, elements):
                if text is not None:
                    self.found.loose.update(names_in(text))
        self.below("TypeCast", node, place)

    def visit_FuncCall(self, node, place):
        name, args = strings(node["funcname"])[-1], node.get("args", [])
        if name in BY_NAME and len(args) > BY_NAME[name] >= -len(args):
            text = constant(args[BY_NAME[name]])
            if text is not None:
                self.found.loose.update(names_in(text))
        self.below("FuncCall", node, place)

    # -- other statements --

    def visit_ExplainStmt(self, node, place):
        on = [option["DefElem"] for option in node.get("options", []) if option["DefElem"]["defname"] == "analyze"]
        said = on[-1].get("arg", {"String": {"sval": "on"}}) if on else {"String": {"sval": "off"}}
        executed = said.get("String", {}).get("sval") not in ("off", "false") and said.get("Integer") != {}  # {}: 0
        query = node["query"]
        if not executed and "CreateTableAsStmt" in query:
            self.found.nodes.add("CreateTableAsStmt")
            query = query["CreateTableAsStmt"]["query"]  # makes nothing
        self.wrapped(query, dict(place, quiet=not executed))

    def visit_CopyStmt(self, node, place):
        if node.get("is_from") and "relation" in node:
            self.visit("RangeVar", node["relation"], {"target": WRITE})
            self.below("CopyStmt", node, place, "relation")
        else:
            self.below("CopyStmt", node, place)

    def visit_TruncateStmt(self, node, place):
        for relation in node["relations"]:
            self.wrapped(relation, {"target": WRITE})

    def visit_ImportForeignSchemaStmt(self, node, place):
        if node.get("list_type") == "FDW_IMPORT_SCHEMA_LIMIT_TO":
            self.below("ImportForeignSchemaStmt", node, place)

    def object(self, kind, node, place, objects, what):
        for item in objects:
            names = listed(item) if isinstance(item, dict) else []
            if what in NAMED_BEFORE_LAST:
                names = names[:-1]
            elif what not in NAMED_WHOLLY:
                names = []
            if names:
                self.found.add(names[-2] if len(names) > 1 else None, names[-1], DDL)
        self.below(kind, node, place)

    def visit_DropStmt(self, node, place):
        self.object("DropStmt", node, place, node["objects"], node["removeType"])

    def visit_CommentStmt(self, node, place):
        self.object("CommentStmt", node, place, [node["object"]], node.get("objtype"))

    def visit_SecLabelStmt(self, node, place):
        self.object("SecLabelStmt", node, place, [node["object"]], node.get("objtype"))

    def visit_AlterExtensionContentsStmt(self, node, place):
        self.object("AlterExtensionContentsStmt", node, place, [node["object"]], node.get("objtype"))

    def visit_RenameStmt(self, node, place):
        self.below("RenameStmt", node, place)
        relation, kind = node.get("relation"), node.get("renameType")
        if relation and kind in NAMED_WHOLLY - {"OBJECT_INDEX"}:
            self.found.add(relation.get("schemaname"), node["newname"], DDL)

    def visit_AlterTSDictionaryStmt(self, node, place):
        pass  # its options look like types

    def visit_DefElem(self, node, place):
        if node["defname"] == "owned_by" and "List" in node.get("arg", {}):
            names = listed(node["arg"])[:-1]
            if names:
                self.found.add(names[-2] if len(names) > 1 else None, names[-1], DDL)
        self.below("DefElem", node, place)

    # -- code in strings --

    def body(self, trees, prefix="SELECT "):
        self.found.bodies += 1
        for text in trees:
            tree = self.parse(text) or self.parse(prefix + text)
            if not tree:  # an assignment
                self.body(prefix + part for part in sides(text))
                continue
            for raw in tree["stmts"]:
                self.wrapped(raw["stmt"], {})
        self.found.bodies -= 1

    def expressions(self, node):
        if isinstance(node, list):
            for item in node:
                yield from self.expressions(item)
        elif isinstance(node, dict):
            if "PLpgSQL_expr" in node:
                yield node["PLpgSQL_expr"]["query"]
            for value in node.values():
                yield from self.expressions(value)

    def visit_CreateFunctionStmt(self, node, place):
        options = {option["DefElem"]["defname"]: option["DefElem"] for option in node.get("options", [])}
        language = options.get("language", {}).get("arg", {}).get("String", {}).get("sval")
        self.below("CreateFunctionStmt", node, place)
        if language == "sql" and "as" in options:
            self.body(listed(options["as"]["arg"]), "")
        elif language == "plpgsql":
            self.plpgsql()

    def visit_DoStmt(self, node, place):
        self.below("DoStmt", node, place)
        self.plpgsql()

    def plpgsql(self):
        tree = self.parse_plpgsql(self.text)
        assert tree is not None, "PL/pgSQL that cannot be read"
        self.body(self.expressions(tree))
