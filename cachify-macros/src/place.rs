//! Finds out in what kind of block an annotated function is.
//!
//! A macro cannot see what encloses it, so this reads the source file. The result only improves
//! error messages. If it is not certain, there is none, and the compiler reports an error in the
//! expansion instead.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItemFn, ItemFn, ItemImpl};

use crate::args::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An item of a module or of a block.
    Free,
    /// An `impl` block without a trait.
    Inherent,
    /// An `impl` block of a trait.
    Trait,
}

/// The annotated functions of a file by name; `None` for a name in several places.
type Places = HashMap<String, Option<Place>>;

/// Returns the place of the function of this name, or `None` if the file has no such function or
/// several in different places.
pub(crate) fn of(name: &Ident) -> Option<Place> {
    let file = name.span().unwrap().local_file()?;
    thread_local! {
        static FILES: RefCell<HashMap<PathBuf, Places>> = RefCell::default();
    }
    FILES.with_borrow_mut(|files| {
        let places = files
            .entry(file)
            .or_insert_with_key(|file| read(file).unwrap_or_default());
        places.get(&name.to_string()).copied().flatten()
    })
}

fn read(file: &Path) -> Option<Places> {
    let source = std::fs::read_to_string(file).ok()?;
    let mut finder = Finder {
        block: Place::Free,
        found: HashMap::new(),
    };
    finder.visit_file(&syn::parse_file(&source).ok()?);
    Some(finder.found)
}

struct Finder {
    /// The kind of block that is being visited.
    block: Place,
    found: Places,
}

impl Finder {
    fn note(&mut self, name: &Ident, attrs: &[Attribute], place: Place) {
        if attrs.iter().any(|attr| Kind::of(attr.path()).is_some()) {
            let known = self.found.entry(name.to_string()).or_insert(Some(place));
            *known = known.filter(|known| *known == place);
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let block = match item.trait_ {
            Some(_) => Place::Trait,
            None => Place::Inherent,
        };
        let outside = std::mem::replace(&mut self.block, block);
        visit::visit_item_impl(self, item);
        self.block = outside;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.note(&item.sig.ident, &item.attrs, self.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.note(&item.sig.ident, &item.attrs, Place::Free);
        visit::visit_item_fn(self, item);
    }
}
