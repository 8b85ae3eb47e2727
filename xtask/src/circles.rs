//! Modules of one crate that import one another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, ImplItem, Item, ItemUse, UseTree, Visibility};

use crate::run::Failure;
use crate::workspace;

/// Reports each circle with its modules and the lines that make it.
pub(crate) fn check(only: &[String]) -> Result<String, Failure> {
    let (packages, _) = workspace::load()?;
    let (mut modules, mut found) = (0, String::new());
    for package in packages
        .iter()
        .filter(|package| is_meant(only, &package.name))
    {
        for root in &package.roots {
            let tree = Crate::read(root, &|file| fs::read_to_string(file).ok())?;
            modules += tree.modules.len();
            let edges = tree.edges();
            for group in groups(&edges) {
                let names: Vec<_> = group.iter().map(|at| tree.name(*at)).collect();
                let (name, count) = (&package.name, names.len());
                let _ = writeln!(found, "\n{name}: {count} modules: {}", names.join(", "));
                for circle in circles(&edges, &group) {
                    let lines = circle
                        .into_iter()
                        .map(|edge| tree.line(edge, &edges[&edge]));
                    let _ = writeln!(found, "{}", lines.collect::<String>());
                }
            }
        }
    }
    if found.is_empty() {
        Ok(format!("{modules} modules"))
    } else {
        Err(format!("modules import one another:\n{found}"))
    }
}

fn is_meant(only: &[String], name: &String) -> bool {
    only.is_empty() || only.contains(name)
}

/// Imports from one module to another, and their lines.
type Edges = BTreeMap<(usize, usize), BTreeSet<usize>>;

#[derive(Default)]
struct Crate {
    modules: Vec<Module>,
    /// The crate's own name, as `extern crate self as` gives it.
    own_name: Option<String>,
}

#[derive(Default)]
struct Module {
    name: String,
    file: PathBuf,
    /// Set if it is written in its parent's file, and so is a part of it.
    is_inline: bool,
    parent: usize,
    children: HashMap<String, usize>,
    items: HashSet<String>,
    imports: Vec<Import>,
    words: Vec<Word>,
}

struct Import {
    path: Vec<String>,
    /// The name in this module; `None` for a glob.
    name: Option<String>,
    exported: bool,
    line: usize,
}

/// A path in the code, such as `crate::lock::Guard`, or a name alone.
struct Word {
    path: Vec<String>,
    line: usize,
}

type Source<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Crate {
    fn read(root: &Path, source: Source<'_>) -> Result<Self, Failure> {
        let mut tree = Self::default();
        let directory = root.parent().unwrap_or(root);
        tree.file("", 0, root, directory, source)?;
        Ok(tree)
    }

    fn file(
        &mut self,
        name: &str,
        parent: usize,
        file: &Path,
        directory: &Path,
        source: Source<'_>,
    ) -> Result<usize, Failure> {
        let text = source(file).ok_or_else(|| format!("cannot read {}", file.display()))?;
        let mut parsed =
            syn::parse_file(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        WithoutTests.visit_file_mut(&mut parsed);
        self.module(name, parent, file, directory, parsed.items, source)
    }

    fn module(
        &mut self,
        name: &str,
        parent: usize,
        file: &Path,
        directory: &Path,
        items: Vec<Item>,
        source: Source<'_>,
    ) -> Result<usize, Failure> {
        let at = self.modules.len();
        self.modules.push(Module {
            name: name.to_owned(),
            file: file.to_owned(),
            parent,
            ..Module::default()
        });
        for item in items {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let inner = directory.join(&name);
                    let id = if let Some((_, items)) = child.content {
                        let id = self.module(&name, at, file, &inner, items, source)?;
                        self.modules[id].is_inline = true;
                        id
                    } else {
                        let flat = inner.with_extension("rs");
                        let is_flat = source(&flat).is_some();
                        let file = if is_flat { flat } else { inner.join("mod.rs") };
                        self.file(&name, at, &file, &inner, source)?
                    };
                    self.modules[at].children.insert(name, id);
                }
                Item::ExternCrate(krate) => {
                    self.own_name = krate.rename.map(|(_, name)| name.to_string());
                }
                item => {
                    let module = &mut self.modules[at];
                    module.items.extend(name_of(&item));
                    Imports(&mut module.imports).visit_item(&item);
                    words(item.to_token_stream(), &mut module.words);
                }
            }
        }
        Ok(at)
    }

    /// Returns the path of a module without the crate, such as `cached::read`.
    fn name(&self, at: usize) -> String {
        let module = &self.modules[at];
        match (at, module.parent) {
            (0, _) => "the crate's root".to_owned(),
            (_, 0) => module.name.clone(),
            (_, parent) => format!("{}::{}", self.name(parent), module.name),
        }
    }

    fn line(&self, (from, to): (usize, usize), lines: &BTreeSet<usize>) -> String {
        const SHOWN: usize = 3;
        let file = &self.modules[from].file;
        let file = file.strip_prefix(workspace::root()).unwrap_or(file);
        let shown: Vec<_> = lines.iter().take(SHOWN).map(usize::to_string).collect();
        let more = match lines.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (from, to) = (self.name(from), self.name(to));
        format!(
            "  {from} -> {to}  {}:{}{more}\n",
            file.display(),
            shown.join(",")
        )
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (at, module) in self.modules.iter().enumerate() {
            let mut add = |to: Option<Place>, line| {
                if let Some(Place::Item(to)) = to {
                    let (from, to) = (self.whole(at), self.whole(to));
                    if from != to {
                        edges.entry((from, to)).or_default().insert(line);
                    }
                }
            };
            let used: HashSet<&String> = module.words.iter().map(|word| &word.path[0]).collect();
            for import in &module.imports {
                let to = self.resolve(at, &import.path, &mut Seen::new());
                // A parent that only re-exports its child's items does not depend on them.
                let shown = import.exported
                    && matches!(to, Some(Place::Item(to)) if self.is_below(to, at))
                    && !import.name.as_ref().is_some_and(|name| used.contains(name));
                if import.name.is_some() && !shown {
                    add(to, import.line);
                }
            }
            for Word { path, line } in &module.words {
                if path.len() > 1 {
                    add(self.resolve(at, path, &mut Seen::new()), *line);
                } else if !module.has(&path[0]) {
                    add(self.by_glob(at, &path[0], &mut Seen::new()), *line);
                }
            }
        }
        edges
    }

    fn whole(&self, at: usize) -> usize {
        let module = &self.modules[at];
        if module.is_inline {
            self.whole(module.parent)
        } else {
            at
        }
    }

    fn is_below(&self, mut at: usize, above: usize) -> bool {
        while at != 0 {
            at = self.modules[at].parent;
            if at == above {
                return true;
            }
        }
        false
    }

    /// Follows a path from module `from`, through re-exports. Returns `None` if it leads out of the
    /// crate.
    fn resolve(&self, from: usize, path: &[String], seen: &mut Seen) -> Option<Place> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.modules[from].parent,
            name if Some(name) == self.own_name.as_deref() => 0,
            name => match self.look_up(from, name, rest.is_empty(), seen)? {
                Place::Module(module) => module,
                item @ Place::Item(_) => return Some(item),
            },
        };
        while let Some((name, after)) = rest.split_first() {
            rest = after;
            at = match name.as_str() {
                "self" => at,
                "super" => self.modules[at].parent,
                name => match self.look_up(at, name, rest.is_empty(), seen) {
                    Some(Place::Module(module)) => module,
                    Some(item) => return Some(item),
                    // A macro of this workspace makes items that are not in the source.
                    None => return Some(Place::Item(at)),
                },
            };
        }
        Some(Place::Module(at))
    }

    fn look_up(&self, at: usize, name: &str, last: bool, seen: &mut Seen) -> Option<Place> {
        let module = &self.modules[at];
        let child = module.children.get(name).map(|child| Place::Module(*child));
        if !last && child.is_some() {
            return child;
        }
        if module.items.contains(name) {
            return Some(Place::Item(at));
        }
        let named = |import: &&Import| import.name.as_deref() == Some(name);
        let import = module.imports.iter().find(named);
        match import {
            // `use redis::Cmd` in a crate that has its own module `redis` ends here, too.
            Some(import) if seen.insert((at, name.to_owned(), false)) => {
                self.resolve(at, &import.path, seen)
            }
            _ => child.or_else(|| self.by_glob(at, name, seen)),
        }
    }

    fn by_glob(&self, at: usize, name: &str, seen: &mut Seen) -> Option<Place> {
        if !seen.insert((at, name.to_owned(), true)) {
            return None;
        }
        let mut globs = self.modules[at]
            .imports
            .iter()
            .filter(|import| import.name.is_none());
        globs.find_map(|glob| match self.resolve(at, &glob.path, seen)? {
            Place::Module(module) if module != at => self.look_up(module, name, true, seen),
            _ => None,
        })
    }
}

impl Module {
    fn has(&self, name: &str) -> bool {
        let imported = |import: &Import| import.name.as_deref() == Some(name);
        self.items.contains(name) || self.imports.iter().any(imported)
    }
}

/// The names looked up so far, by module and by import or glob. Some lead back to each other.
type Seen = HashSet<(usize, String, bool)>;

/// The end of a path: a module, or an item of one.
#[derive(Clone, Copy)]
enum Place {
    Module(usize),
    Item(usize),
}

/// Removes test modules, and methods for tests, from a file.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_test(attributes(item)));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_test(attributes(item)));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| match item {
            ImplItem::Fn(function) => !is_test(&function.attrs),
            _ => true,
        });
    }
}

/// Matches `#[cfg(test)]` and `#[cfg(all(test, ..))]`, but not `#[cfg(any(test, ..))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        text == "cfg (test)" || text.starts_with("cfg (all (test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Gathers the imports of an item, including those inside functions.
struct Imports<'a>(&'a mut Vec<Import>);

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let exported = !matches!(item.vis, Visibility::Inherited);
        self.tree(&item.tree, &mut Vec::new(), exported);
        visit::visit_item_use(self, item);
    }
}

impl Imports<'_> {
    fn tree(&mut self, tree: &UseTree, path: &mut Vec<String>, exported: bool) {
        let (last, name) = match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.tree(&step.tree, path, exported);
                path.pop();
                return;
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, path, exported);
                }
                return;
            }
            UseTree::Name(name) if name.ident == "self" => (None, path.last().cloned()),
            UseTree::Name(name) => (Some(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(name) => (Some(&name.ident), Some(name.rename.to_string())),
            UseTree::Glob(_) => (None, None),
        };
        let line = tree.to_token_stream().into_iter().next();
        let line = line.map_or(0, |token| token.span().start().line);
        let last = last.map(ToString::to_string);
        self.0.push(Import {
            path: path.iter().cloned().chain(last).collect(),
            name,
            exported,
            line,
        });
    }
}

/// Finds the paths in code, including the arguments of macros. Imports do not count as code.
fn words(tokens: TokenStream, found: &mut Vec<Word>) {
    let is = |token: &TokenTree, mark| match token {
        TokenTree::Punct(punct) => punct.as_char() == mark,
        _ => false,
    };
    let mut tokens = tokens.into_iter().peekable();
    let (mut colons, mut dot) = (0, false);
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) => {
                // In `impl Trait + use<'a>`, `use` is not an import.
                if ident == "use" && !tokens.peek().is_some_and(|next| is(next, '<')) {
                    while tokens.next_if(|next| !is(next, ';')).is_some() {}
                    continue;
                }
                let (name, line) = (ident.to_string(), ident.span().start().line);
                match found.last_mut() {
                    Some(word) if colons == 2 => word.path.push(name),
                    _ if dot || colons == 2 => {}
                    _ => found.push(Word {
                        path: vec![name],
                        line,
                    }),
                }
                (colons, dot) = (0, false);
            }
            TokenTree::Punct(punct) => {
                colons = if punct.as_char() == ':' {
                    colons + 1
                } else {
                    0
                };
                dot = punct.as_char() == '.';
            }
            TokenTree::Group(group) => {
                words(group.stream(), found);
                (colons, dot) = (0, false);
            }
            TokenTree::Literal(_) => (colons, dot) = (0, false),
        }
    }
}

/// Returns the groups of modules that can all be reached from one another.
fn groups(edges: &Edges) -> Vec<BTreeSet<usize>> {
    let ends: BTreeSet<usize> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let reach: BTreeMap<usize, BTreeSet<usize>> = ends
        .iter()
        .map(|from| (*from, paths(edges, &ends, *from).into_keys().collect()))
        .collect();
    let mut groups = BTreeSet::new();
    for (from, reached) in &reach {
        let back = reached.iter().filter(|to| reach[to].contains(from));
        groups.insert(back.copied().collect::<BTreeSet<_>>());
    }
    groups.into_iter().filter(|group| group.len() > 1).collect()
}

/// Returns the shortest circles of a group that have no import in common.
fn circles(edges: &Edges, group: &BTreeSet<usize>) -> Vec<Vec<(usize, usize)>> {
    let mut left = edges.clone();
    left.retain(|(from, to), _| group.contains(from) && group.contains(to));
    let mut circles = Vec::new();
    loop {
        let shortest = left
            .keys()
            .filter_map(|&(from, to)| {
                let before = paths(&left, group, to);
                let (mut at, mut circle) = (from, vec![(from, to)]);
                while at != to {
                    circle.push((*before.get(&at)?, at));
                    at = before[&at];
                }
                circle[1..].reverse();
                Some(circle)
            })
            .min_by_key(Vec::len);
        let Some(circle) = shortest else {
            return circles;
        };
        left.retain(|edge, _| !circle.contains(edge));
        circles.push(circle);
    }
}

/// Returns everything that can be reached by at least one step, with the step before it.
fn paths(edges: &Edges, within: &BTreeSet<usize>, start: usize) -> BTreeMap<usize, usize> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(from) = queue.pop_front() {
        for (_, to) in edges.range((from, 0)..=(from, usize::MAX)).map(|(e, _)| e) {
            if within.contains(to) && !before.contains_key(to) {
                before.insert(*to, from);
                queue.push_back(*to);
            }
        }
    }
    before
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Crate, circles, groups};
    use std::path::Path;

    /// Returns the circles in a crate of these files, as `a:1 b:2`.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        let tree = Crate::read(Path::new("lib.rs"), &source).unwrap();
        let edges = tree.edges();
        let groups = groups(&edges);
        let all = groups.iter().flat_map(|group| circles(&edges, group));
        let text = |&(from, to): &(usize, usize)| {
            let line = edges[&(from, to)].first().unwrap();
            format!("{}:{line}", tree.name(from))
        };
        let line = |circle: Vec<_>| circle.iter().map(text).collect::<Vec<_>>().join(" ");
        all.map(line).collect()
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;");

    #[test]
    fn a_name_of_the_root_counts_as_its_module() {
        let a = ("a.rs", "use crate::B;\npub struct A(B);");
        let b = ("b.rs", "\nuse crate::{A, x};\npub struct B(A);");
        assert_eq!(found(&[ROOT, a, b]), ["a:1 b:2"]);
        assert!(found(&[ROOT, a, ("b.rs", "pub struct B;")]).is_empty());
    }

    #[test]
    fn paths_in_code_and_in_macros_count() {
        let a = ("a.rs", "use crate::b;\npub struct A;\nfn f() { b::g(); }");
        for code in ["fn g(_: super::A) {}", "fn g() { x!(y, super::A) }"] {
            assert_eq!(found(&[ROOT, a, ("b.rs", code)]), ["a:3 b:1"]);
        }
        let field = "pub struct B; fn g(b: B) { b.a.A }";
        assert!(found(&[ROOT, a, ("b.rs", field)]).is_empty());
    }

    #[test]
    fn tests_and_docs_do_not_count() {
        let a = ("a.rs", "use super::B;\npub struct A(B);");
        let test = "/// [`crate::A`]\npub struct B;\n#[cfg(test)]\nmod tests { use crate::A; }";
        assert!(found(&[ROOT, a, ("b.rs", test)]).is_empty());
    }

    #[test]
    fn a_parent_may_show_what_its_child_defines() {
        let child = ("a/c.rs", "use super::A;\npub struct C(A);");
        let files = |parent| [ROOT, ("a.rs", parent), child, ("b.rs", "pub struct B;")];
        assert!(found(&files("mod c;\npub use c::C;\npub struct A;")).is_empty());
        let uses = [
            "mod c;\npub struct A(c::C);",
            "mod c;\npub use c::C;pub struct A(C);",
        ];
        assert_eq!(uses.map(|parent| found(&files(parent)).len()), [1, 1]);
    }

    #[test]
    fn globs_count_by_the_names_used() {
        let a = ("a.rs", "use super::B;\npub struct A(B);");
        let glob = ("b.rs", "use crate::a::*;\npub struct B;\nfn f(_: A) {}");
        assert_eq!(found(&[ROOT, a, glob]), ["a:1 b:3"]);
    }

    #[test]
    fn long_circles_are_found() {
        let root = ("lib.rs", "mod a;\nmod b;\nmod c;");
        let file = |name, text| (name, text);
        let files = [
            root,
            file("a.rs", "use crate::b::B;\npub struct A;"),
            file("b.rs", "use crate::c::C;\npub struct B;"),
            file("c.rs", "use crate::a::A;\npub struct C;"),
        ];
        assert_eq!(found(&files), ["a:1 b:1 c:1"]);
    }
}
