//! A log in memory that several committers share and that fails on demand.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::ledger::{Row, Seq};
use crate::store::{Batch, Log, StoreError};

/// What happens to one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It fails, and nothing was written.
    BeforeWrite,
    /// It fails, but everything was written.
    AfterWrite,
}

#[derive(Default)]
struct Inside {
    rows: Vec<Row>,
    sealed: BTreeMap<Seq, Vec<u8>>,
    snapshot: Option<Vec<u8>>,
    locked: bool,
    owner: u32,
    dead: HashSet<String>,
    /// Appends wait while this is set.
    held: bool,
    appends: u32,
}

/// What is durable, and the lock.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<Inside>, Condvar)>);

impl Disk {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.0.lock().unwrap()
    }

    fn wait_until(&self, ready: impl Fn(&Inside) -> bool) -> MutexGuard<'_, Inside> {
        self.0.1.wait_while(self.inside(), |inside| !ready(inside)).unwrap()
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.inside().rows.clone()
    }

    pub(super) fn kill(&self, instance: &str) {
        self.inside().dead.insert(instance.to_owned());
    }

    /// Lets no append pass until it is called again with `false`.
    pub(super) fn hold(&self, held: bool) {
        self.inside().held = held;
        self.0.1.notify_all();
    }

    /// Blocks until an append is being held.
    pub(super) fn wait_for_append(&self, count: u32) {
        drop(self.wait_until(|inside| inside.appends >= count));
    }

    pub(super) fn appends(&self) -> u32 {
        self.inside().appends
    }

    pub(super) fn corrupt_snapshot(&self, at: usize) {
        self.inside().snapshot.as_mut().unwrap()[at] ^= 1;
    }

    pub(super) fn has_snapshot(&self) -> bool {
        self.inside().snapshot.is_some()
    }
}

/// The faults that are still to come, of one process.
#[derive(Clone, Default)]
pub(super) struct Plan(Arc<Mutex<(VecDeque<Fault>, u32)>>);

impl Plan {
    pub(super) fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().0.extend(faults);
    }

    /// The next `times` attempts to reopen fail.
    pub(super) fn fail_reopen(&self, times: u32) {
        self.0.lock().unwrap().1 = times;
    }
}

/// One process's access to the disk.
pub(super) struct MemoryLog {
    disk: Disk,
    owner: u32,
    pub(super) plan: Plan,
    broken: bool,
    locked: bool,
}

impl MemoryLog {
    pub(super) fn new(disk: &Disk, owner: u32) -> Self {
        Self { disk: disk.clone(), owner, plan: Plan::default(), broken: false, locked: false }
    }

    fn usable(&self) {
        assert!(!self.broken, "a connection is used whose last write failed");
    }

    fn try_append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut inside = self.disk.inside();
        inside.appends += 1;
        self.disk.0.1.notify_all();
        drop(inside);
        let mut inside = self.disk.wait_until(|inside| !inside.held);
        let fault = self.plan.0.lock().unwrap().0.pop_front().unwrap_or(Fault::None);
        let failed = |what: &str| Err(StoreError::Write(what.to_owned()));
        if fault == Fault::BeforeWrite {
            return failed("disk full");
        }
        for (i, row) in batch.rows.iter().enumerate() {
            if row.seq != inside.rows.len() as Seq + 1 + i as Seq {
                return failed("conflict");
            }
        }
        inside.rows.extend(batch.rows.iter().cloned());
        inside.sealed.extend(batch.sealed.iter().cloned());
        batch.erase.iter().for_each(|seq| drop(inside.sealed.remove(seq)));
        if fault == Fault::AfterWrite { failed("fsync") } else { Ok(()) }
    }
}

impl Log for MemoryLog {
    fn lock(&mut self) -> Result<bool, StoreError> {
        let mut inside = self.disk.wait_until(|inside| !inside.locked);
        inside.locked = true;
        self.locked = true;
        Ok(std::mem::replace(&mut inside.owner, self.owner) != self.owner)
    }

    fn unlock(&mut self) {
        self.disk.inside().locked = false;
        self.locked = false;
        self.disk.0.1.notify_all();
    }

    async fn rows_after(&mut self, after: Seq, max: u32) -> Result<Vec<Row>, StoreError> {
        self.usable();
        Ok(self.disk.inside().rows.iter().skip(after as usize).take(max as usize).cloned().collect())
    }

    async fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.usable();
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.try_append(batch);
        self.broken = result.is_err();
        result
    }

    async fn reopen(&mut self) -> Result<(), StoreError> {
        let mut plan = self.plan.0.lock().unwrap();
        if plan.1 > 0 {
            plan.1 -= 1;
            return Err(StoreError::Write("still no space".to_owned()));
        }
        self.broken = false;
        Ok(())
    }

    fn load_snapshot(&mut self) -> Option<Vec<u8>> {
        self.disk.inside().snapshot.clone()
    }

    fn save_snapshot(&mut self, bytes: Vec<u8>) {
        self.disk.inside().snapshot = Some(bytes);
    }

    fn is_dead(&mut self, instance: &str) -> bool {
        self.disk.inside().dead.contains(instance)
    }
}
