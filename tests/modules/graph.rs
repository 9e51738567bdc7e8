//! The dependencies between modules, and their cycles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::tree::{Modules, Path};

/// The dependencies, each with the first place where it occurs.
pub(crate) type Graph = BTreeMap<(String, String), String>;

/// The target of a path.
struct Target {
    module: Path,
    /// A function or macro of that module, and not the module itself or a type in it.
    function: bool,
}

/// All dependencies between siblings: those between the modules of the crate, and those between the
/// files of each folder.
pub(crate) fn uses(modules: &Modules) -> Graph {
    let mut graph = Graph::new();
    for (from, module) in modules {
        for reference in &module.references {
            let Some(target) = follow(modules, from, &reference.path, 0) else { continue };
            let common = from.iter().zip(&target.module).take_while(|(a, b)| a == b).count();
            let (own, other) = (from.get(common), target.module.get(common));
            // The file of the folder itself, `mod.rs`, has the name of the folder.
            let name = |child: Option<&String>| {
                let path: Vec<_> = from[..common].iter().chain(child).cloned().collect();
                if child.is_some() {
                    path.join("::")
                } else {
                    format!("{}::mod.rs", path.join("::"))
                }
            };
            let counts = match (own, other) {
                (None, None) => false,
                (Some(_), Some(_)) => true,
                (Some(_), None) => target.function,
                (None, Some(_)) => !reference.reexport,
            };
            if counts {
                let path = reference.path.join("::");
                let place = format!("{}:{}: {path}", reference.file, reference.line);
                graph.entry((name(own), name(other))).or_insert(place);
            }
        }
    }
    graph
}

/// Finds the module to which a path leads, as seen from another module.
fn follow(modules: &Modules, from: &Path, path: &[String], depth: usize) -> Option<Target> {
    let (first, mut rest) = path.split_first()?;
    let mut module = match first.as_str() {
        // A crate may refer to itself by the name of its library.
        "crate" | "runtime" => Path::new(),
        "self" => from.clone(),
        "super" => from.split_last()?.1.to_vec(),
        _ if rest.is_empty() && depth == 0 => return None,
        child if modules.contains_key(&joined(from, child)) => joined(from, child),
        name => {
            let import = modules.get(from)?.imports.get(name)?;
            let target = (depth < 8).then(|| follow(modules, from, import, depth + 1))??;
            if target.function {
                return Some(target);
            }
            target.module
        }
    };
    while let Some((name, after)) = rest.split_first() {
        rest = after;
        if name == "super" {
            module.pop();
            continue;
        }
        let child = joined(&module, name);
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let here = &modules[&module];
        if here.functions.contains(name) {
            return Some(Target { module, function: true });
        }
        if here.items.contains(name) || depth >= 8 {
            break;
        }
        if let Some(import) = here.imports.get(name) {
            // An item of another crate counts as an item of the module.
            return follow(modules, &module, import, depth + 1)
                .or(Some(Target { module, function: false }));
        }
        let through_glob = here.globs.iter().find_map(|glob| {
            let glob = follow(modules, &module, glob, depth + 1)?.module;
            let found = &modules[&glob];
            let has = found.functions.contains(name) || found.items.contains(name);
            (has && glob != module)
                .then(|| Target { function: found.functions.contains(name), module: glob })
        });
        return through_glob.or(Some(Target { module, function: false }));
    }
    Some(Target { module, function: false })
}

fn joined(module: &[String], child: &str) -> Path {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// Returns a shortest cycle for each dependency that is part of one, without duplicates.
pub(crate) fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    graph.keys().filter_map(|(from, to)| circle_through(graph, from, to)).collect()
}

/// Returns the shortest cycle that contains this dependency. It starts at the first name in alphabetical
/// order.
fn circle_through(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([to]);
    while let Some(at) = queue.pop_front() {
        if at == from {
            let mut circle = vec![at.to_owned()];
            let mut last = at;
            while last != to {
                last = before[last];
                circle.push(last.to_owned());
            }
            circle.reverse();
            let first = (0..circle.len()).min_by_key(|&i| &circle[i]).expect("it has a member");
            circle.rotate_left(first);
            return Some(circle);
        }
        for (_, next) in graph.keys().filter(|(user, _)| user == at) {
            if next != to && !before.contains_key(next.as_str()) {
                before.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Describes a cycle, with the place of each dependency.
pub(crate) fn told(graph: &Graph, circle: &[String]) -> String {
    let mut text = format!("{} -> {}\n", circle.join(" -> "), circle[0]);
    for (i, from) in circle.iter().enumerate() {
        let to = &circle[(i + 1) % circle.len()];
        let _ = writeln!(text, "    {from} -> {to}: {}", graph[&(from.clone(), to.clone())]);
    }
    text
}
