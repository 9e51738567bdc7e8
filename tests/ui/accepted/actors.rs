// What a block with `#[actor]` may look like.

#![deny(warnings)]

mod elsewhere {
    use std::borrow::Cow;
    use std::collections::HashMap;
    use std::io;

    use runtime::actor;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    pub struct Table<T> {
        rows: HashMap<String, T>,
    }

    /// A block of one type.
    #[actor]
    #[allow(clippy::len_without_is_empty)]
    impl self::Table<u64> {
        pub const LIMIT: usize = { 10 };

        /// Not of the proxy.
        pub fn new() -> Self {
            Self::default()
        }

        /// Gets a row.
        #[must_use]
        pub fn get(&self, name: &str) -> Option<u64> {
            self.helper(name, |row| *row)
        }

        fn helper<R>(&self, name: &str, of: impl Fn(&u64) -> R) -> Option<R> {
            self.rows.get(name).map(of)
        }

        pub(crate) fn put(&mut self, (name, row): (String, u64), _: ()) -> Result<(), String> {
            self.rows.insert(name, row);
            Ok(())
        }

        pub fn save(self: &Self, mut path: std::path::PathBuf) -> io::Result<u64> {
            path.push("table");
            std::fs::write(&path, "")?;
            Ok(0)
        }

        pub fn join(&mut self, others: Vec<Self>, by: Cow<'_, str>) -> Box<[Self]> {
            let _ = (others, by);
            Box::new([])
        }

        #[cast]
        pub fn clear(&mut self) {
            self.rows.clear();
        }

        #[cast]
        pub fn note(&self, text: &str) -> () {
            let _ = text;
        }

        #[cfg(any())]
        pub fn absent(&self, of: NoSuchType) {}

        #[cfg(all())]
        pub fn present(&self, r#type: u8) -> u8 {
            r#type
        }

        #[deprecated]
        pub fn old(&self) {}

        /// The proxy has this one and none of its own.
        pub fn is_alive(&self) -> u8 {
            1
        }

        pub fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: &[u8]) -> usize {
            usize::from(a + b + c + d + e + f + g) + h.len()
        }
    }

    struct Private(std::sync::mpsc::Sender<u8>, std::sync::Mutex<()>);

    #[derive(Serialize, Deserialize)]
    struct Also(u8);

    // Neither serializable nor visible.
    #[actor]
    impl Private {
        #[allow(dead_code)]
        pub(super) fn send(&mut self, of: Also) -> Also {
            let _ = (self.0.send(of.0), &self.1);
            of
        }
    }

    #[runtime::initializer]
    fn make(_: u8) -> Private {
        Private(std::sync::mpsc::channel().0, std::sync::Mutex::new(()))
    }

    pub fn private(manager: &runtime::Manager) {
        let proxy = manager.make(make, 3).unwrap();
        proxy.send(Also(3)).unwrap();
    }
}

use elsewhere::{Table, TableProxy};

#[runtime::worker]
fn use_it(table: TableProxy) -> Option<u64> {
    table.get("a").unwrap()
}

fn main() {
    let manager = runtime::Manager::start().unwrap();
    let table = manager.serve(Table::new()).unwrap();
    table.put(("a".into(), 3), ()).unwrap().unwrap();
    table.clear().unwrap();
    table.note("x").unwrap();
    assert_eq!(table.join(vec![Table::new()], "".into()).unwrap().len(), 0);
    assert_eq!(table.present(7).unwrap(), 7);
    assert_eq!(table.is_alive().unwrap(), 1);
    assert_eq!(table.many(1, 1, 1, 1, 1, 1, 1, &[1]).unwrap(), 8);
    let saved: Result<u64, runtime::Error> = table.save("/no/such/folder".into());
    assert_eq!(saved.unwrap_err().kind(), runtime::ErrorKind::Failed);
    assert_eq!(runtime::pool().apply(use_it, table.clone()).unwrap(), None);
    elsewhere::private(&manager);
}
