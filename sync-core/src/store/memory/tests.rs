use super::MemoryStore;
use crate::store::conformance::Harness;

struct Memory(MemoryStore);

impl Harness for Memory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn store(&mut self) -> &mut MemoryStore {
        &mut self.0
    }

    fn crash(&mut self) {
        self.0.crash();
        assert!(!self.0.is_dirty());
    }
}

crate::store_conformance!(Memory);
