//! Host tests: the rules one by one; [`model`] has them against a model.

mod model;

use super::*;
use crate::atomic_page::testing::HostPage;
use crate::atomic_page::{At32, AtomicPage};
use crate::id::DomId;
use std::sync::Arc;
use std::vec::Vec;
use xen_abi::grant_table::{GrantFlags, GrantResult, GrantType};

/// A frame of a granter: its number, and how many rights to it there are.
#[derive(Debug)]
struct HostFrame(Arc<u32>);

impl Frame for HostFrame {
    fn again(&self) -> Option<Self> {
        Some(Self(Arc::clone(&self.0)))
    }
}

/// The granter's frames that exist are those below this.
const FRAMES: u32 = 100;

fn translate(frame: u32) -> Result<HostFrame, GrantResult> {
    if frame < FRAMES { Ok(HostFrame(Arc::new(frame))) } else { Err(GrantResult::BadPage) }
}

type HostTable = Table<HostPage, HostFrame>;

fn domain(id: u16) -> DomId {
    DomId::new(id).unwrap()
}

fn table(frames: u32) -> HostTable {
    let mut table = Table::new(8);
    table.grow(frames, || Ok::<_, ()>(HostPage::new())).unwrap();
    table
}

fn header(gref: u32) -> At32 {
    At32::masked(u64::from(gref % 512) * 8)
}

fn word(table: &HostTable, gref: u32) -> u32 {
    table.page(gref / 512).unwrap().load32(header(gref))
}

fn scribble(table: &HostTable, gref: u32, header_word: u32, frame: u32) {
    let page = table.page(gref / 512).unwrap();
    page.store32(At32::masked(u64::from(gref % 512) * 8 + 4), frame);
    page.store32(header(gref), header_word);
}

const PERMIT: u32 = GrantType::PermitAccess as u32;
const READONLY: u32 = GrantFlags::READONLY.bits() as u32;
const SUB_PAGE: u32 = GrantFlags::SUB_PAGE.bits() as u32;
const READING: u32 = GrantFlags::READING.bits() as u32;
const WRITING: u32 = GrantFlags::WRITING.bits() as u32;

fn grant(table: &HostTable, gref: u32, to: u16, frame: u32, flags: u32) {
    scribble(table, gref, PERMIT | flags | u32::from(to) << 16, frame);
}

fn status(table: &HostTable, gref: u32) -> u32 {
    word(table, gref) & (READING | WRITING)
}

fn pin(table: &mut HostTable, gref: u32, user: u16, access: Access, uses: Uses) -> Result<u32, GrantResult> {
    table.pin(gref, domain(user), access, uses, translate).map(|frame| *frame.0)
}

#[test]
fn status_bits_follow_the_pins() {
    let mut table = table(1);
    grant(&table, 9, 3, 42, 0);
    assert_eq!(pin(&mut table, 9, 3, Access::Read, Uses::HOST), Ok(42));
    assert_eq!(status(&table, 9), READING);
    assert_eq!(pin(&mut table, 9, 3, Access::Write, Uses::DEVICE), Ok(42));
    assert_eq!(status(&table, 9), READING | WRITING);
    assert_eq!(pin(&mut table, 9, 3, Access::Write, Uses::HOST), Ok(42));
    assert!(table.unpin(9, Access::Write, Uses::HOST).is_none());
    assert_eq!(status(&table, 9), READING | WRITING);
    assert!(table.unpin(9, Access::Write, Uses::DEVICE).is_none());
    assert_eq!(status(&table, 9), READING);
    assert_eq!(table.in_use(), 1);
    assert!(table.unpin(9, Access::Read, Uses::HOST).is_some());
    assert_eq!(word(&table, 9), PERMIT | 3 << 16);
    assert_eq!(table.in_use(), 0);
}

#[test]
fn what_is_not_granted_is_refused_and_leaves_no_trace() {
    let mut table = table(1);
    let cases = [
        ("nothing", 0, 0),
        ("another domain's", PERMIT | 4 << 16, 0),
        ("accept_transfer", GrantType::AcceptTransfer as u32 | 3 << 16, 0),
        ("transitive", GrantType::Transitive as u32 | 3 << 16, 0),
        ("part of a page", PERMIT | SUB_PAGE | 3 << 16, 0),
    ];
    for (what, word_before, frame) in cases {
        scribble(&table, 9, word_before, frame);
        let pinned = pin(&mut table, 9, 3, Access::Read, Uses::HOST);
        assert_eq!(pinned, Err(GrantResult::GeneralError), "{what}");
        assert_eq!(word(&table, 9), word_before, "{what}");
    }
    grant(&table, 9, 3, 0, READONLY);
    assert_eq!(pin(&mut table, 9, 3, Access::Write, Uses::HOST), Err(GrantResult::GeneralError));
    grant(&table, 9, 3, FRAMES, 0);
    assert_eq!(pin(&mut table, 9, 3, Access::Write, Uses::HOST), Err(GrantResult::BadPage));
    assert_eq!(status(&table, 9), 0);
    for gref in [512, 513, u32::MAX] {
        assert_eq!(pin(&mut table, gref, 3, Access::Read, Uses::HOST), Err(GrantResult::BadGntref));
    }
    assert_eq!(table.in_use(), 0);
}

/// As Xen's: copies of a table of version 1 do not know the flag.
#[test]
fn copies_take_no_notice_of_sub_page() {
    let mut table = table(1);
    grant(&table, 1, 3, 7, SUB_PAGE);
    assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::COPY), Ok(7));
}

#[test]
fn an_entry_in_use_is_what_it_was() {
    let mut table = table(1);
    grant(&table, 1, 3, 7, READONLY);
    assert_eq!(pin(&mut table, 1, 3, Access::Read, Uses::HOST), Ok(7));
    // The granter means something else now.
    scribble(&table, 1, PERMIT | 4 << 16, 8);
    assert_eq!(pin(&mut table, 1, 3, Access::Read, Uses::HOST), Ok(7));
    assert_eq!(pin(&mut table, 1, 4, Access::Read, Uses::HOST), Err(GrantResult::GeneralError));
    // Of the flags the right to write still counts.
    scribble(&table, 1, READONLY, 8);
    assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::HOST), Err(GrantResult::GeneralError));
    assert!(table.unpin(1, Access::Read, Uses::HOST).is_none());
    assert_eq!(table.unpin(1, Access::Read, Uses::HOST).map(|frame| *frame.0), Some(7));
    assert_eq!(pin(&mut table, 1, 3, Access::Read, Uses::HOST), Err(GrantResult::GeneralError));
}

#[test]
fn there_is_a_most_of_users() {
    let mut table = table(1);
    grant(&table, 1, 3, 7, 0);
    for _ in 0..128 {
        assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::HOST), Ok(7));
    }
    assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::HOST), Err(GrantResult::GeneralError));
    assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::COPY), Err(GrantResult::GeneralError));
    assert_eq!(
        pin(&mut table, 1, 3, Access::Write, Uses::HOST | Uses::DEVICE),
        Err(GrantResult::GeneralError)
    );
    assert_eq!(pin(&mut table, 1, 3, Access::Write, Uses::DEVICE), Ok(7));
    for _ in 0..128 {
        assert!(table.unpin(1, Access::Write, Uses::HOST).is_none());
    }
    assert!(table.unpin(1, Access::Write, Uses::DEVICE).is_some());
}

#[test]
fn rights_to_a_frame_are_given_back() {
    let mut table = table(1);
    grant(&table, 1, 3, 7, 0);
    let right = table.pin(1, domain(3), Access::Read, Uses::HOST, translate).unwrap();
    let right = right.0;
    assert_eq!(Arc::strong_count(&right), 2);
    drop(table.unpin(1, Access::Read, Uses::HOST));
    assert_eq!(Arc::strong_count(&right), 1);
}

#[test]
fn entries_are_swapped_when_nobody_uses_them() {
    let mut table = table(2);
    grant(&table, 1, 3, 7, 0);
    grant(&table, 600, 4, 8, READONLY);
    assert_eq!(table.swap(1, 600), Ok(()));
    assert_eq!(pin(&mut table, 1, 4, Access::Read, Uses::HOST), Ok(8));
    assert_eq!(table.swap(1, 600), Err(GrantResult::Eagain));
    assert_eq!(table.swap(600, 1), Err(GrantResult::Eagain));
    assert_eq!(table.swap(1, 1), Ok(()));
    assert_eq!(table.swap(1024, 1), Err(GrantResult::BadGntref));
    assert_eq!(table.swap(1, 1024), Err(GrantResult::BadGntref));
    assert_eq!(pin(&mut table, 600, 3, Access::Write, Uses::HOST), Ok(7));
}

#[test]
fn a_table_grows_to_its_limit_or_not_at_all() {
    let mut table = table(1);
    assert_eq!(table.grow(9, || Ok::<_, ()>(HostPage::new())), Err(GrowError::Limit));
    let mut left = 2;
    let make = || {
        left -= 1;
        if left > 0 { Ok(HostPage::new()) } else { Err(()) }
    };
    assert_eq!(table.grow(8, make), Err(GrowError::OutOfMemory));
    assert_eq!(table.frames(), 1);
    assert_eq!(table.grow(8, || Ok::<_, ()>(HostPage::new())), Ok(()));
    assert_eq!(table.grow(3, || Ok::<_, ()>(HostPage::new())), Ok(()));
    assert_eq!((table.frames(), table.page(7).is_some(), table.page(8).is_some()), (8, true, false));
}

#[test]
fn handles_are_used_again_and_end_at_the_limit() {
    let mut track = Maptrack::new(2);
    let all: Vec<u32> = (0..512).map(|_| track.reserve(|| true).unwrap()).collect();
    assert_eq!(all, (0..512).collect::<Vec<u32>>());
    assert_eq!(track.reserve(|| true), Err(NoHandle));
    track.fill(300, 'a');
    track.fill(301, 'b');
    track.fill(300, 'c');
    assert_eq!(track.get_mut(300), Some(&mut 'a'));
    for nothing in [0, 512, u32::MAX] {
        assert_eq!(track.get_mut(nothing), None);
    }
    // Neither a mapped nor a free handle can be released.
    track.release(300);
    assert_eq!(track.take(300), Some('a'));
    assert_eq!(track.take(300), None);
    track.release(300);
    track.release(300);
    assert_eq!((track.reserve(|| true), track.reserve(|| true)), (Ok(300), Err(NoHandle)));
    assert_eq!(Maptrack::<()>::new(0).reserve(|| true), Err(NoHandle));
}

#[test]
fn without_leave_to_grow_only_free_handles_are_given() {
    let mut track = Maptrack::<char>::new(2);
    assert_eq!(track.reserve(|| false), Err(NoHandle));
    // What is allocated is used up without asking.
    assert_eq!((track.reserve(|| true), track.reserve(|| false)), (Ok(0), Ok(1)));
    let rest: Vec<u32> = (2..256).map(|_| track.reserve(|| false).unwrap()).collect();
    assert_eq!((rest.last(), track.reserve(|| false)), (Some(&255), Err(NoHandle)));
    track.release(7);
    assert_eq!((track.reserve(|| false), track.reserve(|| false)), (Ok(7), Err(NoHandle)));
    assert_eq!(track.reserve(|| true), Ok(256));
}

#[test]
fn mappings_are_found_and_taken_out_at_the_end() {
    let mut track = Maptrack::new(64);
    for number in 0..10_000_u32 {
        let handle = track.reserve(|| true).unwrap();
        if number % 2 == 0 {
            track.fill(handle, number);
        }
    }
    assert_eq!(track.find(0, |&number| number == 4094), Search::Found);
    assert_eq!(track.find(0, |&number| number == 4096), Search::GoOn(4096));
    assert_eq!(track.find(4096, |&number| number == 4096), Search::Found);
    assert_eq!(track.find(8192, |&number| number == 1), Search::Nothing);
    assert_eq!(track.find(u32::MAX, |_| true), Search::Nothing);
    let left: Vec<u32> = core::iter::from_fn(|| track.pop()).collect();
    assert_eq!(left.len(), 5_000);
    assert_eq!(track.reserve(|| true), Ok(0));
}
