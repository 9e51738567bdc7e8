//! The modules of a crate, with the names that each file uses.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree, Visibility};

/// The segments of a path.
pub(crate) type Path = Vec<String>;

/// A path that a module uses, and its place.
pub(crate) struct Reference {
    pub(crate) path: Path,
    pub(crate) file: String,
    pub(crate) line: usize,
    /// Whether the item is only re-exported under another name, as in `pub use child::Item`.
    pub(crate) reexport: bool,
}

/// A type or trait that a module defines.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The number of fields; for an enum, that of its largest variant.
    pub(crate) fields: usize,
}

/// One module: a file, or a block within one.
#[derive(Default)]
pub(crate) struct Module {
    /// Free functions and macros.
    pub(crate) functions: BTreeSet<String>,
    /// Types, traits and constants.
    pub(crate) items: BTreeSet<String>,
    /// The items that `use` imports, by their local names.
    pub(crate) imports: BTreeMap<String, Path>,
    /// The modules that `use path::*` imports.
    pub(crate) globs: Vec<Path>,
    pub(crate) references: Vec<Reference>,
    pub(crate) types: Vec<Type>,
}

/// All modules of a crate by their paths; the path of the root is empty.
pub(crate) type Modules = BTreeMap<Path, Module>;

/// Returns the source of a module: the name of its file and the text.
pub(crate) type Sources<'a> = &'a dyn Fn(&[String]) -> Option<(String, String)>;

/// Reads a crate, without code that is compiled only for tests.
pub(crate) fn read(sources: Sources<'_>) -> Modules {
    let mut modules = Modules::new();
    read_file(&mut modules, sources, Path::new());
    modules
}

fn read_file(modules: &mut Modules, sources: Sources<'_>, path: Path) {
    let (file, text) = sources(&path)
        .unwrap_or_else(|| panic!("the file of the module `{}` was not found", path.join("::")));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut reader = Reader { file, path, modules, files: Vec::new() };
    reader.modules.entry(reader.path.clone()).or_default();
    parsed.items.iter().for_each(|item| reader.visit_item(item));
    for path in std::mem::take(&mut reader.files) {
        read_file(modules, sources, path);
    }
}

struct Reader<'a> {
    file: String,
    /// The current module.
    path: Path,
    modules: &'a mut Modules,
    /// The modules in separate files.
    files: Vec<Path>,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        self.modules.get_mut(&self.path).expect("it was entered")
    }

    fn refer(&mut self, path: Path, line: usize, reexport: bool) {
        let file = self.file.clone();
        self.module().references.push(Reference { path, file, line, reexport });
    }

    fn import(&mut self, tree: &UseTree, prefix: &Path, reexport: bool) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Path>();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(path.ident.to_string()), reexport),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix, reexport));
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.module().globs.push(prefix.clone());
                self.refer(prefix.clone(), line, reexport);
            }
            UseTree::Name(name) if name.ident == "self" => {
                let line = name.ident.span().start().line;
                let last = prefix.last().expect("`self` is within braces").clone();
                self.bring_in(last, prefix.clone(), line, reexport);
            }
            UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                let name = name.ident.to_string();
                self.bring_in(name.clone(), with(name), line, reexport);
            }
            UseTree::Rename(rename) => {
                let line = rename.ident.span().start().line;
                let path = with(rename.ident.to_string());
                self.bring_in(rename.rename.to_string(), path, line, reexport);
            }
        }
    }

    fn bring_in(&mut self, name: String, path: Path, line: usize, reexport: bool) {
        if path != [name.clone()] {
            self.module().imports.insert(name, path.clone());
        }
        self.refer(path, line, reexport);
    }

    /// Finds the paths in the tokens of a macro call, which are not parsed further.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) if !is_colon(&tokens, at.wrapping_sub(1)) => {
                    let mut path = vec![first.to_string()];
                    while is_colon(&tokens, at + 1)
                        && is_colon(&tokens, at + 2)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.refer(path, first.span().start().line, false);
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Returns the name of a type or trait, and the number of its fields.
fn type_of(item: &Item) -> Option<(&syn::Ident, usize)> {
    Some(match item {
        Item::Struct(item) => (&item.ident, item.fields.len()),
        Item::Enum(item) => {
            let fields = item.variants.iter().map(|variant| variant.fields.len());
            (&item.ident, fields.max().unwrap_or(0))
        }
        Item::Union(item) => (&item.ident, item.fields.named.len()),
        Item::Trait(item) => (&item.ident, 0),
        Item::Type(item) => (&item.ident, 0),
        _ => return None,
    })
}

fn is_colon(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        let (attributes, name, function) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident), false),
            Item::Enum(item) => (&item.attrs, Some(&item.ident), false),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident), true),
            Item::Impl(item) => (&item.attrs, None, false),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref(), true),
            Item::Mod(item) => (&item.attrs, None, false),
            Item::Static(item) => (&item.attrs, Some(&item.ident), false),
            Item::Struct(item) => (&item.attrs, Some(&item.ident), false),
            Item::Trait(item) => (&item.attrs, Some(&item.ident), false),
            Item::Type(item) => (&item.attrs, Some(&item.ident), false),
            Item::Union(item) => (&item.attrs, Some(&item.ident), false),
            Item::Use(item) => (&item.attrs, None, false),
            _ => return visit::visit_item(self, item),
        };
        if !is_compiled(attributes) {
            return;
        }
        if let Some(name) = name {
            let module = self.module();
            let names = if function { &mut module.functions } else { &mut module.items };
            names.insert(name.to_string());
        }
        if let Some((name, fields)) = type_of(item) {
            let (file, line) = (self.file.clone(), name.span().start().line);
            self.module().types.push(Type { name: name.to_string(), file, line, fields });
        }
        match item {
            Item::Mod(item) => {
                let at_path = |attribute: &Attribute| attribute.path().is_ident("path");
                let name = item.ident.to_string();
                assert!(!item.attrs.iter().any(at_path), "`#[path]` on the module `{name}`");
                self.path.push(name);
                match &item.content {
                    None => self.files.push(self.path.clone()),
                    Some((_, items)) => {
                        self.modules.entry(self.path.clone()).or_default();
                        items.iter().for_each(|item| self.visit_item(item));
                    }
                }
                self.path.pop();
            }
            Item::Use(item) => {
                let reexport = !matches!(item.vis, Visibility::Inherited);
                self.import(&item.tree, &Path::new(), reexport);
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if is_compiled(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let line = path.segments[0].ident.span().start().line;
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        let mut names: Path = names.collect();
        if path.leading_colon.is_some() {
            // This is a crate, even if a module has the same name.
            names[0].insert_str(0, "::");
        }
        self.refer(names, line, false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, of: &'a syn::Macro) {
        self.visit_path(&of.path);
        self.scan(of.tokens.clone());
    }

    // `pub(in crate::codec)` is not a use.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    // A reference in documentation is not a use either.
    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

/// Returns whether an item with these attributes is compiled outside of tests, with some set of
/// features.
fn is_compiled(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).all(|attribute| {
        attribute.parse_args::<Meta>().map_or(true, |condition| possible(&condition).0)
    })
}

/// Returns whether a condition can be true, and whether it can be false, outside of tests.
fn possible(condition: &Meta) -> (bool, bool) {
    let Meta::List(list) = condition else {
        return (!condition.path().is_ident("test"), true);
    };
    let parts = list
        .parse_args_with(syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|parts| parts.iter().map(possible).collect::<Vec<_>>())
        .unwrap_or_default();
    let (yes, no) = (|part: &(bool, bool)| part.0, |part: &(bool, bool)| part.1);
    match list.path.get_ident().map(ToString::to_string).as_deref() {
        Some("not") => (parts.iter().all(no), parts.iter().all(yes)),
        Some("any") => (parts.iter().any(yes), parts.iter().all(no)),
        _ => (parts.iter().all(yes), parts.iter().any(no)),
    }
}
