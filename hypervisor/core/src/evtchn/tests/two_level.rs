use super::*;
use std::thread;

const UPCALL: Delivered = Delivered { vcpu: 0, upcall: true, newly_pending: true };
const NO_UPCALL: Delivered = Delivered { vcpu: 0, upcall: false, newly_pending: true };
const NOTHING: Delivered = Delivered { vcpu: 0, upcall: false, newly_pending: false };

fn ipis(count: u32) -> Domain {
    let domain = Domain::new(1, 1000);
    for _ in 0..count {
        domain.locked(|channels| channels.bind_ipi(0)).unwrap();
    }
    domain
}

#[test]
fn only_what_is_news_makes_an_upcall() {
    let domain = ipis(70);
    assert_eq!(domain.send_own(port(3)), UPCALL);
    assert_eq!(domain.send_own(port(3)), NOTHING, "pending already");
    assert_eq!(domain.send_own(port(4)), NO_UPCALL, "its word is selected already");
    assert_eq!(domain.send_own(port(65)), NO_UPCALL, "the upcall is pending already");
    assert_eq!(domain.words.take_upcall(0), (true, 0b11));
    assert_eq!(domain.send_own(port(5)), UPCALL);
    assert_eq!(is_pending(&domain.table, &domain.words, 5), Ok(true));
    assert_eq!(is_pending(&domain.table, &domain.words, 6), Ok(false));
}

#[test]
fn a_masked_port_is_told_when_unmasked() {
    let domain = ipis(2);
    domain.words.mask_2_level(1);
    assert_eq!(domain.send_own(port(1)), NO_UPCALL);
    assert_eq!(domain.words.take_upcall(0), (false, 0));
    let told = Delivered { newly_pending: false, ..UPCALL };
    assert_eq!(unmask(&domain.table, &domain.words, 1), Ok(told));
    assert_eq!(unmask(&domain.table, &domain.words, 1), Ok(NOTHING), "not masked any more");
    domain.words.mask_2_level(2);
    assert_eq!(unmask(&domain.table, &domain.words, 2), Ok(NOTHING), "no event");
}

#[test]
fn vcpu_info_is_inside_its_page() {
    let page = HostPage::new();
    for (offset, fits) in [(0, true), (4032, true), (4040, false), (4, false), (u64::MAX - 7, false)] {
        assert_eq!(VcpuInfoAt::new(&page, offset).is_some(), fits, "{offset}");
    }
    let info = VcpuInfoAt::new(&page, 4032).unwrap();
    assert_eq!((info.raise(), info.raise()), (true, false));
    assert_eq!(page.load8(At8::masked(4032)), 1);
}

/// No vcpu of this domain has its structure yet.
#[derive(Debug)]
struct Blind(Words);

impl SharedWords for Blind {
    type Info = HostPage;
    type Page = Arc<HostPage>;

    fn shared_info(&self) -> &HostPage {
        self.0.shared_info()
    }

    fn with_vcpu_info<R>(&self, _: u16, _: impl FnOnce(VcpuInfoAt<'_, HostPage>) -> R) -> Option<R> {
        None
    }

    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<Arc<HostPage>>>) -> R) -> R {
        self.0.with_fifo(f)
    }
}

#[test]
fn events_of_a_vcpu_without_a_structure_stay_pending() {
    let domain = ipis(1);
    let blind = Blind(domain.words);
    let Ok(SendTo::Own(event)) = domain.table.send(1) else { panic!("no IPI") };
    assert_eq!(deliver(&domain.table, &blind, event), NO_UPCALL);
    assert_eq!(is_pending(&domain.table, &blind, 1), Ok(true));
}

/// Two senders and a guest that takes what comes: the last event of each is never lost.
#[test]
fn no_event_is_lost_between_senders_and_the_guest() {
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let domain = ipis(2);
    let taken = || {
        let (_, selected) = domain.words.take_upcall(0);
        if selected == 0 { 0 } else { domain.words.info.fetch_and64(At64::masked(0x800), 0) }
    };
    thread::scope(|scope| {
        let senders = [1, 2].map(|own| {
            let domain = &domain;
            scope.spawn(move || (0..rounds).for_each(|_| _ = domain.send_own(port(own))))
        });
        while senders.iter().any(|sender| !sender.is_finished()) {
            let _ = taken();
            thread::yield_now();
        }
    });
    let _ = taken();
    assert!(!domain.words.pending_2_level(1) && !domain.words.pending_2_level(2));
}
