//! Races between users of an entry and a granter that takes it back, in all orders that loom finds.
//!
//! The granter does what Linux does (`gnttab_end_foreign_access_ref`): it clears the entry by an atomic exchange that
//! expects the status bits to be clear. What has to hold: when that has worked, nobody uses the frame, and nobody
//! gets it any more; and when all are done, no status bit is left.

use ::loom::model::Builder;
use ::loom::sync::atomic::{AtomicU32, Ordering};
use ::loom::sync::{Arc, Mutex};
use ::loom::thread;
use xen_abi::grant_table::{GrantFlags, GrantResult, GrantType};

use super::*;
use crate::atomic_page::{At8, At32, At64, AtomicPage};
use crate::id::DomId;

const PERMIT: u32 = GrantType::PermitAccess as u32;
const READONLY: u32 = GrantFlags::READONLY.bits() as u32;
const STATUS: u32 = (GrantFlags::READING.bits() | GrantFlags::WRITING.bits()) as u32;
const USER: u16 = 3;
const GREF: u32 = 0;

/// One entry: header and frame.
#[derive(Debug)]
struct Page([AtomicU32; 2]);

impl Page {
    fn word(&self, at: At32) -> &AtomicU32 {
        &self.0[at.offset() / 4]
    }
}

impl AtomicPage for Page {
    fn load8(&self, at: At8) -> u8 {
        unreachable!("no byte is read, as {at:?}")
    }

    fn fetch_or8(&self, at: At8, _: u8) -> u8 {
        unreachable!("no byte is written, as {at:?}")
    }

    fn load32(&self, at: At32) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    fn store32(&self, at: At32, value: u32) {
        self.word(at).store(value, Ordering::Release);
    }

    fn fetch_or32(&self, at: At32, bits: u32) -> u32 {
        self.word(at).fetch_or(bits, Ordering::SeqCst)
    }

    fn fetch_and32(&self, at: At32, bits: u32) -> u32 {
        self.word(at).fetch_and(bits, Ordering::SeqCst)
    }

    fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32> {
        self.word(at).compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn load64(&self, at: At64) -> u64 {
        unreachable!("no such word is read, as {at:?}")
    }

    fn fetch_or64(&self, at: At64, _: u64) -> u64 {
        unreachable!("no such word is written, as {at:?}")
    }

    fn fetch_and64(&self, at: At64, _: u64) -> u64 {
        unreachable!("no such word is written, as {at:?}")
    }
}

/// A right to the granted frame; counting them is not what these tests are about.
struct Right;

impl Frame for Right {
    fn again(&self) -> Option<Self> {
        Some(Self)
    }
}

/// A granter's table with one entry, for [`USER`].
struct World {
    table: Mutex<Table<Arc<Page>, Right>>,
    page: Arc<Page>,
    /// Who is between pin and unpin.
    users: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        let header = PERMIT | u32::from(USER) << 16;
        let page = Arc::new(Page([AtomicU32::new(header), AtomicU32::new(42)]));
        let mut table = Table::new(1);
        table.grow(1, || Ok::<_, ()>(Arc::clone(&page))).unwrap();
        Arc::new(Self { table: Mutex::new(table), page, users: AtomicU32::new(0) })
    }

    /// Uses the frame once, if it may.
    fn use_once(&self, access: Access) -> bool {
        let user = DomId::new(USER).unwrap();
        let pinned = self.table.lock().unwrap().pin(GREF, user, access, Uses::HOST, |frame| {
            assert_eq!(frame, 42);
            Ok(Right)
        });
        if let Err(error) = pinned {
            assert_eq!(error, GrantResult::GeneralError);
            return false;
        }
        self.users.fetch_add(1, Ordering::SeqCst);
        self.users.fetch_sub(1, Ordering::SeqCst);
        drop(self.table.lock().unwrap().unpin(GREF, access, Uses::HOST));
        true
    }

    fn header(&self) -> &AtomicU32 {
        &self.page.0[0]
    }

    /// The granter takes the entry back, if nobody uses it.
    fn withdraw(&self) -> bool {
        let mut word = self.header().load(Ordering::Acquire);
        while word & STATUS == 0 {
            match self.header().compare_exchange(word, 0, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    assert_eq!(self.users.load(Ordering::SeqCst), 0, "users of an entry that was taken back");
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    fn check_end(&self) {
        assert_eq!(self.table.lock().unwrap().in_use(), 0);
        assert_eq!(self.header().load(Ordering::SeqCst) & STATUS, 0, "status bits at the end");
    }
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

#[test]
fn an_entry_that_was_taken_back_has_no_users() {
    model(|| {
        let world = World::new();
        let users = [Access::Read, Access::Write].map(|access| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.use_once(access))
        });
        let withdrawn = world.withdraw();
        for user in users {
            user.join().unwrap();
        }
        world.check_end();
        if withdrawn {
            assert_eq!(world.header().load(Ordering::SeqCst), 0);
            assert!(!world.use_once(Access::Read));
        }
    });
}

/// The granter makes the entry read-only while somebody asks to write: he either wrote before, or is refused.
#[test]
fn flags_that_change_are_seen_or_come_later() {
    model(|| {
        let world = World::new();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.use_once(Access::Write))
        };
        let before = world.header().fetch_or(READONLY, Ordering::SeqCst);
        let wrote = writer.join().unwrap();
        // Who saw no status bit knows that nobody wrote yet, or that he is done.
        assert!(wrote || before & STATUS == 0);
        assert!(!world.use_once(Access::Write));
        assert!(world.use_once(Access::Read));
        world.check_end();
    });
}
