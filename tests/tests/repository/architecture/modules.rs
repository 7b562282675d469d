//! Finds circles between the modules of a crate, by reading the paths in its sources.
//!
//! The siblings of each module are compared: two of them form a circle if each uses the other, directly or through
//! further siblings. The sub-modules of a module count as parts of it. A module and its own sub-modules are one unit:
//! Rust lets a sub-module use the private items of the module that it belongs to, so this is not counted as a circle.
//! A `pub use` is not counted as a use, but paths are followed through it to the module that has the item. Code under
//! `#[cfg(test)]` is not counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The path of a module within its crate; the root of the crate is empty.
type ModulePath = Vec<String>;

/// The modules of one crate.
#[derive(Debug, Default)]
struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Debug, Default)]
struct Module {
    children: BTreeSet<String>,
    /// The names that `use` brings into the module, with their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// The paths that the module's code uses.
    paths: Vec<Vec<String>>,
}

/// Returns a description of each circle between the modules of the crate whose root file is `root`, with the module
/// that contains the circle.
pub(crate) fn circles(root: &Path) -> Vec<(String, String)> {
    let mut parsed = Crate::default();
    parsed.read(root, &Vec::new(), root.parent().unwrap());
    parsed.circles()
}

impl Crate {
    fn read(&mut self, file: &Path, module: &ModulePath, folder: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.modules.entry(module.clone()).or_default();
        self.scan(&tokens.into_iter().collect::<Vec<_>>(), module, folder);
    }

    fn module(&mut self, path: &ModulePath) -> &mut Module {
        self.modules.entry(path.clone()).or_default()
    }

    fn scan(&mut self, tokens: &[TokenTree], module: &ModulePath, folder: &Path) {
        let mut at = 0;
        let mut public = false;
        while let Some(token) = tokens.get(at) {
            let rest = &tokens[at..];
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    at += attribute(rest);
                    continue;
                }
                TokenTree::Ident(word) if word == "pub" => {
                    public = true;
                    let restricted = matches!(rest.get(1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    at += if restricted { 2 } else { 1 };
                    continue;
                }
                TokenTree::Ident(word) if word == "mod" => at += self.child(rest, module, folder),
                TokenTree::Ident(word) if word == "use" => {
                    let end = rest.iter().position(|token| is(token, ';')).unwrap_or(rest.len());
                    let mut imports = Vec::new();
                    use_tree(&rest[1..end], &[], &mut imports);
                    let own = self.module(module);
                    for (name, path) in imports {
                        if !public {
                            own.paths.push(path.clone());
                        }
                        own.imports.insert(name, path);
                    }
                    at += end;
                }
                TokenTree::Ident(_) => {
                    let path = path(rest);
                    at += (path.len() * 3).saturating_sub(2).max(1);
                    if path.len() > 1 {
                        self.module(module).paths.push(path);
                    }
                }
                TokenTree::Group(group) => {
                    self.scan(&group.stream().into_iter().collect::<Vec<_>>(), module, folder);
                    at += 1;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
            }
            public = false;
        }
    }

    /// Reads the module that `tokens` declare, and returns the number of its tokens.
    fn child(&mut self, tokens: &[TokenTree], module: &ModulePath, folder: &Path) -> usize {
        let [_, TokenTree::Ident(name), body, ..] = tokens else { return 1 };
        let name = name.to_string();
        let mut path = module.clone();
        path.push(name.clone());
        let inside = folder.join(&name);
        match body {
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                let file = folder.join(format!("{name}.rs"));
                let file = if file.exists() { file } else { inside.join("mod.rs") };
                self.read(&file, &path, &inside);
            }
            TokenTree::Group(group) => {
                self.module(&path);
                self.scan(&group.stream().into_iter().collect::<Vec<_>>(), &path, &inside);
            }
            _ => return 1,
        }
        self.module(module).children.insert(name);
        3
    }

    /// Returns the module that has the item of `path`, as it is written in `module`; `None` for another crate's.
    fn resolve(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let own = self.modules.get(module)?;
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            first if own.children.contains(first) || own.imports.contains_key(first) => {}
            _ => return None,
        }
        while let [word, after @ ..] = rest {
            let current = self.modules.get(&at)?;
            if current.children.contains(word) {
                at.push(word.clone());
                rest = after;
                continue;
            }
            // An import may have the name of the crate that it comes from.
            let import = current.imports.get(word).filter(|import| import.first() != Some(word));
            return match import {
                Some(import) if depth < 8 => {
                    let target = [import.as_slice(), after].concat();
                    self.resolve(&at, &target, depth + 1)
                }
                _ => Some(at),
            };
        }
        Some(at)
    }

    fn circles(&self) -> Vec<(String, String)> {
        let mut uses: BTreeMap<(&ModulePath, ModulePath), &[String]> = BTreeMap::new();
        for (module, content) in &self.modules {
            for path in &content.paths {
                if let Some(used) = self.resolve(module, path, 0) {
                    uses.entry((module, used)).or_insert(path);
                }
            }
        }
        let mut circles = Vec::new();
        for (parent, content) in &self.modules {
            // For each pair of siblings, the first path by which one uses the other.
            let mut edges: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
            for ((module, used), path) in &uses {
                let (Some(from), Some(to)) = (below(parent, module), below(parent, used)) else { continue };
                if from != to {
                    let text = format!("{} uses {}", module.join("::"), path.join("::"));
                    edges.entry(from).or_default().entry(to).or_insert(text);
                }
            }
            let reaches = |from: &str, to: &str| {
                let (mut seen, mut due) = (BTreeSet::new(), vec![from]);
                while let Some(next) = due.pop() {
                    due.extend(
                        edges.get(next).into_iter().flat_map(BTreeMap::keys).filter(|to| seen.insert(**to)),
                    );
                }
                seen.contains(to)
            };
            let mut texts = Vec::new();
            for from in &content.children {
                for (to, text) in edges.get(from.as_str()).into_iter().flatten() {
                    if reaches(to, from) {
                        texts.push(text.as_str());
                    }
                }
            }
            if !texts.is_empty() {
                circles.push((parent.join("::"), texts.join(", ")));
            }
        }
        circles
    }
}

/// Returns the child of `parent` that is or contains `module`.
fn below<'m>(parent: &ModulePath, module: &'m ModulePath) -> Option<&'m str> {
    module.strip_prefix(parent.as_slice())?.first().map(String::as_str)
}

fn is(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(is) if is.as_char() == punct)
}

/// Returns the number of tokens of an attribute, with the item behind it if the attribute is `#[cfg(test)]`.
fn attribute(tokens: &[TokenTree]) -> usize {
    let mut length = 1 + usize::from(tokens.get(1).is_some_and(|token| is(token, '!')));
    let Some(TokenTree::Group(group)) = tokens.get(length) else { return length };
    length += 1;
    if group.stream().to_string().replace(' ', "") != "cfg(test)" {
        return length;
    }
    let ends = |token: &TokenTree| {
        is(token, ';') || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
    };
    tokens[length..].iter().position(ends).map_or(tokens.len(), |end| length + end + 1)
}

/// Returns the words of the path at the start of `tokens`.
fn path(tokens: &[TokenTree]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = tokens;
    while let [TokenTree::Ident(word), after @ ..] = rest {
        words.push(word.to_string());
        match after {
            [first, second, next @ ..] if is(first, ':') && is(second, ':') => rest = next,
            _ => break,
        }
    }
    words
}

/// Adds the names that a `use` brings in, with their paths.
fn use_tree(tokens: &[TokenTree], before: &[String], imports: &mut Vec<(String, Vec<String>)>) {
    let words = path(tokens);
    let used = (words.len() * 3).saturating_sub(2).min(tokens.len());
    let full = [before, &words].concat();
    // A path that ends with `::` has its last two colons before a group or `*`.
    let rest = &tokens[used..];
    match rest {
        [first, second, TokenTree::Group(group), ..] if is(first, ':') && is(second, ':') => {
            group_tree(group.stream(), &full, imports);
        }
        [TokenTree::Group(group), ..] => group_tree(group.stream(), &full, imports),
        [TokenTree::Ident(word), TokenTree::Ident(name), ..] if word == "as" => {
            imports.push((name.to_string(), named(full)));
        }
        _ => {
            let full = named(full);
            if let Some(name) = full.last() {
                imports.push((name.clone(), full.clone()));
            }
        }
    }
}

fn group_tree(stream: TokenStream, before: &[String], imports: &mut Vec<(String, Vec<String>)>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    tokens.split(|token| is(token, ',')).for_each(|tree| use_tree(tree, before, imports));
}

/// `a::{self}` names `a`.
fn named(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
        path.pop();
    }
    path
}

#[test]
fn finds_circles_through_imports_and_inline_paths() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c; mod d; pub use b::B; use self::d::{self, deep::{Deep as Other}};");
    // `a` and `b` use each other through a re-export and an inline path; `c` only uses `a`.
    write("a.rs", "use crate::B; #[cfg(test)] mod tests { use crate::c::C; }");
    write("b/mod.rs", "mod inner; pub struct B;");
    write("b/inner.rs", "fn f() { let _ = || vec![crate::a::A]; }");
    write("c.rs", "use super::{a::{A, Z}, d}; // use crate::d::deep::Deep;");
    // A module and its own sub-module are one unit.
    write("d/mod.rs", "mod deep; pub(in crate::d) struct D; fn f() { deep::f() }");
    write("d/deep.rs", "use super::D;");
    let found = circles(&folder.path().join("lib.rs"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0], (String::new(), "a uses crate::B, b::inner uses crate::a::A".to_owned()));
}
