//! The tree and its transactions against a naive model: a map of path to value.
//!
//! A transaction is modelled by what it did and was told. If it commits, doing the same
//! again on the tree of that moment must give the same answers: then it was as if all had
//! happened at once. It may fail only if somebody changed something meanwhile.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xen_store::Server;

use crate::client::Guest;

type Tree = BTreeMap<String, String>;
type Answer = Result<Vec<String>, String>;

/// Transactions that may be open at once.
const SLOTS: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Read(String),
    Directory(String),
    Write(String, String),
    Mkdir(String),
    Rm(String),
}

#[derive(Clone, Debug)]
enum Step {
    Start(usize),
    End(usize, bool),
    /// In the transaction of the slot, if it is open; else at once.
    Do(usize, Operation),
}

struct Open {
    id: u32,
    done: Vec<(Operation, Answer)>,
    disturbed: bool,
}

fn path() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(prop::sample::select(vec!["a", "b", "cc"]), 0..4);
    names.prop_map(|names| format!("/{}", names.join("/")))
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        path().prop_map(Operation::Read),
        path().prop_map(Operation::Directory),
        (path(), "[x-z]{0,2}").prop_map(|(path, value)| Operation::Write(path, value)),
        path().prop_map(Operation::Mkdir),
        path().prop_map(Operation::Rm),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..SLOTS).prop_map(Step::Start),
        1 => (0..SLOTS, prop::bool::weighted(0.8)).prop_map(|(slot, commit)| Step::End(slot, commit)),
        6 => (0..=SLOTS, operation()).prop_map(|(slot, operation)| Step::Do(slot, operation)),
    ]
}

fn parent(path: &str) -> String {
    match path.rfind('/') {
        Some(0) | None => "/".into(),
        Some(end) => path[..end].into(),
    }
}

fn make(tree: &mut Tree, path: &str, value: &str) {
    let mut above = path.to_string();
    while above != "/" {
        above = parent(&above);
        tree.entry(above.clone()).or_default();
    }
    tree.insert(path.into(), value.into());
}

fn model(tree: &mut Tree, operation: &Operation) -> Answer {
    match operation {
        Operation::Read(path) => tree.get(path).map(|value| vec![value.clone()]).ok_or("ENOENT".into()),
        Operation::Directory(path) if tree.contains_key(path) => {
            let children = tree.keys().filter(|key| *key != "/" && parent(key) == *path);
            Ok(children.map(|key| key.rsplit('/').next().unwrap().to_string()).collect())
        }
        Operation::Directory(_) => Err("ENOENT".into()),
        Operation::Write(path, value) => {
            make(tree, path, value);
            Ok(vec![])
        }
        Operation::Mkdir(path) => {
            if !tree.contains_key(path) {
                make(tree, path, "");
            }
            Ok(vec![])
        }
        Operation::Rm(path) if path == "/" => Err("EINVAL".into()),
        Operation::Rm(path) if !tree.contains_key(&parent(path)) => Err("ENOENT".into()),
        Operation::Rm(path) => {
            tree.retain(|key, _| key != path && !key.starts_with(&format!("{path}/")));
            Ok(vec![])
        }
    }
}

fn real(guest: &mut Guest, server: &mut Server, tx: u32, operation: &Operation) -> Answer {
    match operation {
        Operation::Read(path) => guest.read(server, tx, path).map(|value| vec![value]),
        Operation::Directory(path) => guest.directory(server, tx, path),
        Operation::Write(path, value) => guest.write(server, tx, path, value).map(|()| vec![]),
        Operation::Mkdir(path) => guest.mkdir(server, tx, path).map(|()| vec![]),
        Operation::Rm(path) => guest.rm(server, tx, path).map(|()| vec![]),
    }
}

/// The whole tree below `path`, by the local interface.
fn dump(server: &mut Server, path: &str, into: &mut Tree) {
    into.insert(path.into(), String::from_utf8(server.read(path).unwrap().to_vec()).unwrap());
    for name in server.directory(path).unwrap() {
        let above = path.trim_end_matches('/');
        dump(server, &format!("{above}/{name}"), into);
    }
}

struct World {
    server: Server,
    guest: Guest,
    tree: Tree,
    open: [Option<Open>; SLOTS],
}

impl World {
    fn new() -> Self {
        let mut server = Server::default();
        let guest = Guest::new(&mut server, 0);
        Self { server, guest, tree: Tree::from([("/".into(), String::new())]), open: [const { None }; SLOTS] }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Start(slot) if self.open[*slot].is_none() => {
                let id = self.guest.start(&mut self.server).unwrap();
                self.open[*slot] = Some(Open { id, done: vec![], disturbed: false });
            }
            Step::Start(_) => (),
            Step::End(slot, commit) => {
                if let Some(open) = self.open[*slot].take() {
                    self.end(open, *commit);
                }
            }
            Step::Do(slot, operation) => self.operate(*slot, operation),
        }
        let mut tree = Tree::new();
        dump(&mut self.server, "/", &mut tree);
        assert_eq!(tree, self.tree);
        // The two special events are nodes, but not below the root.
        assert_eq!(self.server.nodes(), self.tree.len() + 2);
    }

    fn operate(&mut self, slot: usize, operation: &Operation) {
        if let Some(Some(open)) = self.open.get_mut(slot) {
            let answer = real(&mut self.guest, &mut self.server, open.id, operation);
            open.done.push((operation.clone(), answer));
            return;
        }
        let expected = model(&mut self.tree, operation);
        assert_eq!(real(&mut self.guest, &mut self.server, 0, operation), expected, "{operation:?}");
        if !matches!(operation, Operation::Read(_) | Operation::Directory(_)) {
            self.disturb();
        }
    }

    fn end(&mut self, open: Open, commit: bool) {
        let result = self.guest.end(&mut self.server, open.id, commit);
        if !commit {
            return assert_eq!(result, Ok(()));
        }
        if result.is_err() {
            assert_eq!(result, Err("EAGAIN".into()));
            return assert!(open.disturbed, "nobody was in the way");
        }
        for (operation, answer) in open.done {
            assert_eq!(model(&mut self.tree, &operation), answer, "{operation:?}");
        }
        self.disturb();
    }

    fn disturb(&mut self) {
        for open in self.open.iter_mut().flatten() {
            open.disturbed = true;
        }
    }
}

proptest! {
    #[test]
    fn the_tree_is_a_map_and_transactions_happen_at_once(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for each in &steps {
            world.step(each);
        }
    }
}
