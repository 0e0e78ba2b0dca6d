"""Languages as one table: how a file is recognised, parsed, scanned, trimmed, and what it imports.

Adding a language is one row here and one golden file in `tests/data/context`. Everything is
data; the grammars are only named, so that none is loaded before a file needs it. What is in no
row is trimmed by lines and indented like C; text of no language counts as prose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from pass_lsp.documents.marks import (
    C_LIKE,
    CASE,
    CHARACTERS,
    DIRECTIVE,
    DOUBLE,
    ENDED,
    ESCAPED,
    HASH,
    JS,
    LABEL,
    NO_MARK,
    POWERSHELL,
    PROSE,
    QUOTES,
    REGEXES,
    SLASHES,
    SQL,
    TRIPLE,
    WHOLE_REGEX,
    XML,
    inert,
)
from pass_lsp.documents.scan import Lexis


@dataclass(frozen=True, slots=True)
class Modules:
    """How imports lead to files. `pattern` finds the `path` of a module in a line of code.

    It may find `names` too: those of modules in a folder that has this path, or, without one, of modules.
    `separator` parts folders; `files` are what a module may be called, with `{}` for its path, and `*` for
    all files of a folder that is one. `sources` maps endings that are imported to those of what they are made from.
    """

    pattern: str
    separator: str
    files: tuple[str, ...]
    sources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Language:
    """One row. `files` are extensions, and whole names behind a slash; words are separated by spaces.

    `grammar` is the module of a wheel, with its function if it has several; the rest are its node kinds. `folds` have a
    body that may be left out far from the cursor; `scopes` hold them and are left whole; the first lines of both are
    kept where they enclose the cursor. `signatures` have no body, and are told to other files. `wrappers` begin above
    what they wrap, as decorators do. `filler` stands for the cursor's line, so that a block which is still empty
    parses. `flat` says that a body is not indented, `rough` that what the grammar takes for an error may be none.
    """

    name: str
    files: str = ""
    aliases: str = ""
    grammar: str = ""
    lexis: Lexis = field(default_factory=Lexis)
    imports: str = ""
    folds: str = ""
    scopes: str = ""
    wrappers: str = ""
    filler: str = ""
    signatures: str = ""
    flat: bool = False
    rough: bool = False
    modules: Modules | None = None


_UNKNOWN = Language("", lexis=Lexis(("//",), (*QUOTES, ("`", "`")), SLASHES, frozenset("`"), opens=r"[{:]$"))
_NOTHING = Language("", lexis=PROSE)

_JS_FOLDS = (
    "function_declaration generator_function_declaration function_expression arrow_function method_definition "
    "class_static_block"
)
_TS_SCOPES = (
    "class_declaration class abstract_class_declaration interface_declaration type_alias_declaration enum_declaration "
    "internal_module module"
)
_TS_SIGNATURES = "function_signature lexical_declaration"
_JS_MODULES = Modules(
    r"""(?:from|import|require\()\s*["'](?P<path>\.[^"']*)["']""",
    "/",
    ("{}", "{}.ts", "{}.tsx", "{}.js", "{}.jsx", "{}.d.ts", "{}/index.ts", "{}/index.tsx", "{}/index.js"),
    ((".js", ".ts"), (".js", ".tsx"), (".jsx", ".tsx"), (".mjs", ".mts"), (".cjs", ".cts")),
)
_C_SIGNATURES = "declaration type_definition preproc_def preproc_function_def"
_C_MODULES = Modules(r'#\s*include\s+"(?P<path>[^"]+)"', "/", ("{}",))
_PYTHON = Lexis(
    ("#",),
    (('"""', '"""'), ("'''", "'''"), *QUOTES),
    long=frozenset(('"""', "'''")),
    indented=True,
    opens=r"^\s*(?:def|class|if|elif|else|for|while|with|try|except|finally|async|match|case)\b[\s\S]*:$",
    defines=r"async\s+def|def|class",
    parts="elif|else|except|finally",
)
_RUBY = Lexis(
    ("#",), (*QUOTES, *REGEXES), (("\n=begin", "\n=end"),), frozenset("\"'"), apart=True,  # none is in /#{name}/
    inert=WHOLE_REGEX, heredoc=r"(?<!<)<<(?:[-~]|(?=[A-Z\"']))",  # `class <<self` begins none
    opens=r"^\s*(?:def|class|module|if|unless|while|until|for|case|begin|else|elsif|when|rescue|ensure)\b.*$"
    r"|\b(?:do(?:\s*\|[^|\n]*\|)?|then)$|=\s*(?:if|case|begin)\b.*$",
    defines="def|class|module",
    closes="end", parts="else|elsif|when|in|rescue|ensure", goes_on=r"[^\s;{}]$",
)  # fmt: skip
_VOID = "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr"

LANGUAGES = (
    Language(
        "python", "py pyi pyw /sconstruct", "py python3", "tree_sitter_python", _PYTHON,
        "import_statement import_from_statement future_import_statement", "function_definition", "class_definition",
        "decorated_definition", filler="x",
        modules=Modules(
            r"^\s*(?:from\s++(?P<path>[\w.]+)\s*)?import\b(?P<names>[^#;]*)", ".",
            ("{}.py", "{}/__init__.py", "{}.pyi"),
        ),
    ),
    Language(
        "javascript", "js mjs cjs", "js", "tree_sitter_javascript", JS, "import_statement", _JS_FOLDS,
        "class_declaration class", "export_statement", signatures="lexical_declaration", modules=_JS_MODULES,
    ),
    Language(
        "javascriptreact", "jsx", "jsx", "tree_sitter_javascript", JS, "import_statement", _JS_FOLDS,
        "class_declaration class", "export_statement", signatures="lexical_declaration", modules=_JS_MODULES,
    ),
    Language(
        "typescript", "ts mts cts", "ts", "tree_sitter_typescript:language_typescript", JS, "import_statement",
        _JS_FOLDS, _TS_SCOPES, "export_statement", signatures=_TS_SIGNATURES, modules=_JS_MODULES,
    ),
    Language(
        "typescriptreact", "tsx", "tsx", "tree_sitter_typescript:language_tsx", JS, "import_statement",
        _JS_FOLDS, _TS_SCOPES, "export_statement", signatures=_TS_SIGNATURES, modules=_JS_MODULES,
    ),
    Language(
        "go", "go", "golang", "tree_sitter_go",
        Lexis(("//",), (*QUOTES, ("`", "`")), SLASHES, frozenset("`"), frozenset("`"), opens=r"\{$" + CASE,
              defines="func|type", outdented=LABEL),
        "package_clause import_declaration", "function_declaration method_declaration func_literal",
        "type_declaration", modules=Modules(r'^\s*(?:import\s+)?(?:\w+\s+)?"(?P<path>[\w.\-/]+)"', "/", ("{}/*.go",)),
    ),
    Language(
        # An apostrophe is a lifetime in Rust far more often than it is a character that needs care.
        "rust", "rs", "rs", "tree_sitter_rust",
        Lexis(("//",), (*DOUBLE, ('r"', '"'), ('r#"', '"#'), *CHARACTERS), SLASHES,
              frozenset(('"', 'r"', 'r#"')), frozenset(('r"', 'r#"')), goes_on=NO_MARK, opens=r"\{$|=>$",
              defines=r"(?:pub(?:\([^)]*\))?\s+)?(?:async\s+)?(?:unsafe\s+)?(?:fn|impl|struct|enum|trait|mod)"),
        "use_declaration extern_crate_declaration", "function_item macro_definition",
        "impl_item trait_item mod_item struct_item enum_item",
        modules=Modules(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:use\s+(?:crate|super|self)::|mod\s+)"
                        r"(?P<path>[\w:]*)(?P<names>\{.*)?", "::",
                        ("{}.rs", "{}/mod.rs", "src/{}.rs", "src/{}/mod.rs")),
    ),
    Language(
        "java", "java", "", "tree_sitter_java",
        Lexis(("//",), (('"""', '"""'), *QUOTES), SLASHES, frozenset(('"""',)), goes_on=NO_MARK,
              opens=r"\{$|->$" + CASE),
        "package_declaration import_declaration", "method_declaration constructor_declaration lambda_expression",
        "class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration",
        modules=Modules(r"^\s*import\s+(?:static\s+)?(?P<path>[\w.]+)", ".", ("{}.java",)),
    ),
    Language("c", "c h", "", "tree_sitter_c", C_LIKE, "preproc_include", "function_definition", "struct_specifier",
             signatures=_C_SIGNATURES, modules=_C_MODULES),
    Language(
        "cpp", "cc cpp cxx hpp hh hxx", "c++ cuda-cpp", "tree_sitter_cpp",
        replace(C_LIKE, strings=(*C_LIKE.strings, ('R"(', ')"')), long=frozenset(('R"(',)), raw=frozenset(('R"(',))),
        "preproc_include using_declaration", "function_definition lambda_expression",
        "class_specifier struct_specifier namespace_definition", "template_declaration",
        signatures=f"{_C_SIGNATURES} alias_declaration", modules=_C_MODULES,
    ),
    Language(
        "csharp", "cs", "c#", "tree_sitter_c_sharp",
        Lexis(("//",), (('"""', '"""'), *QUOTES, ('@"', '"'), ('@$"', '"')), SLASHES,
              frozenset(('"""', '@"', '@$"')), frozenset(('@"', '@$"')), goes_on=NO_MARK, opens=r"\{$|=>$" + CASE,
              outdented=DIRECTIVE),
        "using_directive file_scoped_namespace_declaration",
        "method_declaration constructor_declaration property_declaration local_function_statement lambda_expression",
        "class_declaration interface_declaration struct_declaration record_declaration enum_declaration "
        "namespace_declaration",
    ),
    Language(
        "ruby", "rb rake /gemfile /rakefile", "rb", "tree_sitter_ruby", _RUBY, "", "method singleton_method do_block",
        "class module singleton_class",
        modules=Modules(r"""^\s*require(?:_relative)?\s+["'](?P<path>[\w./\-]+)["']""", "/", ("{}.rb", "lib/{}.rb")),
    ),
    Language(
        "php", "php", "", "tree_sitter_php:language_php",
        Lexis(("//", "#"), QUOTES, SLASHES, frozenset("\"'"), heredoc=r"<<< ?",
              goes_on=NO_MARK, opens=r"\{$|=>$" + CASE,
              defines=r"(?:(?:abstract|final|public|private|protected|static)\s+)*(?:function|class|interface|trait)"),
        "namespace_definition namespace_use_declaration php_tag",
        "function_definition method_declaration anonymous_function",
        "class_declaration interface_declaration trait_declaration enum_declaration",
        modules=Modules(r"^\s*use\s+(?P<path>[\w\\]+)", "\\", ("{}.php", "src/{}.php")),
    ),
    Language(
        "lua", "lua", "", "tree_sitter_lua",
        Lexis(("--",), (("[[", "]]"), ("[=[", "]=]"), *QUOTES), (("--[[", "]]"), ("--[=[", "]=]")),
              frozenset(("[[", "[=[")), frozenset(("[[", "[=[")),
              opens=r"\b(?:then|do|else|repeat)$|\bfunction\s*+[\w.:]*\s*\([^()]*\)$", defines=r"(?:local\s+)?function",
              goes_on=NO_MARK, closes="end|until", parts="else|elseif"),
        "", "function_declaration function_definition", "",
        modules=Modules(r"""require\s*+\(?\s*["'](?P<path>[\w.]+)["']""", ".", ("{}.lua", "{}/init.lua", "lua/{}.lua")),
    ),
    Language(
        "shellscript", "sh bash zsh ksh", "sh bash zsh", "tree_sitter_bash",
        Lexis(("#",), (*QUOTES, ("$'", "'"), *ESCAPED), long=frozenset(('"', "'", "$'")), raw=frozenset("'"),
              apart=True, heredoc=r"(?<!<)<<-?",
              goes_on=r"[\\|&]$|\(\)$", opens=r"\b(?:then|do|else|in)$|\{$|\)\s*$",
              defines=r"function\s+\w+|[\w-]+\s*\(\)", closes="fi|done|esac",
              parts=r"then|else|elif|do|[^()]+\)|;;"),
        "", "function_definition", "",
        modules=Modules(r"^\s*(?:source|\.)\s+[\"']?(?P<path>[\w./\-]+)", "/", ("{}",)),
    ),
    Language(
        "html", "html htm", "", "tree_sitter_html",
        replace(XML, opens=rf"<(?!(?:{_VOID})\b)[A-Za-z][^<>]*(?<!/)>$"),
        "doctype", "element script_element style_element", "",
    ),
    Language("css", "css", "", "tree_sitter_css", Lexis((), QUOTES, SLASHES, goes_on=r"[^\s;{}]$", opens=r"\{$"),
             "import_statement charset_statement", "rule_set keyframes_statement",
             "media_statement supports_statement"),
    *(Language(name, name, "", "", Lexis(("//",), QUOTES, SLASHES, apart=True, goes_on=r"[^\s;{}]$", opens=r"\{$"))
      for name in ("scss", "less")),  # `apart`: url(http://…)
    Language("sql", "sql", "", "tree_sitter_sql", SQL, "", "statement", flat=True, rough=True),
    Language("json", "json", "", "tree_sitter_json", Lexis((), DOUBLE, opens=r"[{\[]$"), folds="object array"),
    Language("jsonc", "jsonc json5", "", "tree_sitter_json", Lexis(("//",), DOUBLE, SLASHES), folds="object array"),
    Language(
        "yaml", "yaml yml", "yml", "tree_sitter_yaml",
        Lexis(("#",), DOUBLE, apart=True, indented=True, goes_on=r"^\s*- .+:\s", opens=r":(?:\s*[|>][-+]?)?$|^\s*-$"),
        folds="block_mapping_pair",
    ),
    Language(
        "toml", "toml", "", "tree_sitter_toml",
        Lexis(("#",), (('"""', '"""'), ("'''", "'''"), *QUOTES), long=frozenset(('"""', "'''")),
              raw=frozenset(("'''", "'")), opens=r"^\s*\[.*\]$"),
        folds="table table_array_element", flat=True,
    ),
    Language(
        "markdown", "md mdx", "md", "tree_sitter_markdown",
        replace(PROSE, blocks=(("<!--", "-->"),)), folds="section fenced_code_block", flat=True,
    ),
    Language("makefile", "mk /makefile /gnumakefile", "", "", Lexis(("#",), inert("\\{}", "#"), opens=r":.*$")),
    Language("dockerfile", "dockerfile /dockerfile", "", "", Lexis(("#",), QUOTES, apart=True, opens=r"\\$")),
    Language(  # an apostrophe transposes
        "julia", "jl", lexis=Lexis(("#",), (('"""', '"""'), *DOUBLE, *CHARACTERS), (("#=", "=#"),),
                                   frozenset(('"""', '"'))),
    ),
    *(Language(name, files, lexis=TRIPLE) for name, files in
      (("kotlin", "kt kts"), ("swift", "swift"), ("scala", "scala"), ("dart", "dart"), ("groovy", "groovy gradle"))),
    *(Language(name, files, aliases, lexis=C_LIKE) for name, files, aliases in
      (("zig", "zig", ""), ("proto", "proto", "proto3"), ("solidity", "sol", ""), ("objective-c", "m", "objc"))),
    Language("r", "r", lexis=HASH),
    *(Language(name, files, aliases, lexis=replace(ENDED, heredoc=heredoc)) for name, files, aliases, heredoc in
      (("perl", "pl pm", "", r"(?<!<)<<~?(?=[A-Z\"'])"), ("terraform", "tf hcl", "hcl opentofu", "<<-?"),
       ("elixir", "ex exs", "", ""), ("cmake", "cmake", "", ""), ("fish", "fish", "", ""))),
    Language("powershell", "ps1 psm1 psd1", lexis=POWERSHELL),
    Language(
        "haskell", "hs", lexis=Lexis(("--",), (*DOUBLE, *CHARACTERS), (("{-", "-}"),), indented=True,
                                     opens=r"(?:=|where|do|of)$"),
    ),
    *(Language(name, files, "", "", PROSE) for name, files in
      (("plaintext", "txt"), ("restructuredtext", "rst"), ("latex", "tex"))),
    Language("xml", "xml csproj props targets xsd xsl svg plist", lexis=XML),
    *(Language(name, name, "", "", JS, modules=_JS_MODULES) for name in ("svelte", "vue")),
)  # fmt: skip

_BY_NAME = {name: row for row in LANGUAGES for name in (row.name, *row.aliases.split())}
_BY_FILE = {ending: row.name for row in LANGUAGES for ending in row.files.split()}


def row_of(language: str) -> Language:
    """The row of a language id; a neutral one where there is none."""
    return _BY_NAME.get(language) or (_UNKNOWN if language else _NOTHING)


def lexis_of(language: str) -> Lexis:
    """The marks of a language; unknown ones count as C-like, files of no language as prose."""
    return row_of(language).lexis


def language_of(path: str, language_id: str = "") -> str:
    """The LSP language id of a file: the one the client names, else the one that its name tells, else ""."""
    named = language_id.strip().lower()
    named = "" if named == "text" else named
    if named and named != "plaintext":
        return _BY_NAME[named].name if named in _BY_NAME else named
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    return _BY_FILE.get(name.rpartition(".")[2] if "." in name else "/" + name, named)
