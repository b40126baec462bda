//! What follows when a domain has stopped by itself: its `on_*` actions.
//!
//! ```text
//!  VIRQ_DOM_EXC ──> look at all domains ──> stopped, and not noticed before
//!                                             │ on_poweroff, on_reboot, on_crash, on_watchdog
//!        destroy ──> gone                     │
//!        restart ──> gone, and made anew with another number (T-76)
//!        rename-restart ──> another name and UUID, and made anew
//!        preserve ──> stays as it is
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::iter;
use core::pin::pin;
use core::task::Poll;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use xen_abi::domctl::{DomainFlags, GetDomainInfo};
use xl::toolstack::{DomId, Done, Failure, Reason};
use xl_config::domain::{Action, DomainConfig};

use crate::create::History;
use crate::environment::{Environment, Platform, Registry};
use crate::hypervisor::Hypervisor;
use crate::inspect;
use crate::manager::{Manager, Record, failed, of_domain};
use crate::tree;

/// A domain that crashes within this time of its start has crashed soon, ns.
const SOON_NS: u64 = 60_000_000_000;
/// How often in a row a domain that crashes soon is made anew.
const MOST_CRASHES: u32 = 5;
/// Least time between two starts of a domain, ns: one that stops at once, again and again,
/// leaves the machine to the others.
const LEAST_AGE_NS: u64 = 1_000_000_000;
/// How long a younger one waits before it is made anew, ms.
const PAUSE_MS: u64 = 1000;

/// How a domain ended.
enum End {
    /// By itself.
    Stopped(DomId, Reason),
    /// Somebody else is destroying it.
    Dying(DomId),
    /// Somebody else has destroyed it; its UUID.
    Gone(DomId, [u8; 16]),
}

impl<E: Environment> Manager<E> {
    /// Looks after domains that stop, and those that others end; never returns.
    ///
    /// A restart that takes long does not keep the others waiting.
    pub async fn watch_deaths(&self) {
        let mut ends = FuturesUnordered::new();
        loop {
            ends.extend(self.ended().into_iter().map(|end| self.follow(end)));
            let event = pin!(self.env.platform().domain_event());
            // Without ends there is nothing to wait for but the event.
            let end = pin!(poll_fn(|context| match ends.poll_next_unpin(context) {
                Poll::Ready(Some(())) => Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }));
            match select(event, end).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// Domains that have stopped since the last look, and those that somebody else destroys.
    fn ended(&self) -> Vec<End> {
        let infos = match self.hypervisor().domains() {
            Ok(infos) => infos,
            Err(error) => {
                self.env.platform().log(format_args!("cannot look at the domains: {error}"));
                return Vec::new();
            }
        };
        let stopped = self.just_stopped(&infos);
        for (domain, reason) in &stopped {
            self.remember(*domain, *reason);
            self.env.registry().stopped(*domain);
        }
        let mut ends: Vec<_> =
            stopped.into_iter().map(|(domain, reason)| End::Stopped(domain, reason)).collect();
        ends.extend(self.destroyed_by_others(&infos));
        self.changed.notify(usize::MAX);
        ends
    }

    fn just_stopped(&self, infos: &[GetDomainInfo]) -> Vec<(DomId, Reason)> {
        let mut records = self.records.borrow_mut();
        let mut stopped = Vec::new();
        for info in infos {
            let Some(reason) = inspect::reason(info) else { continue };
            let Some(record) = records.get_mut(&info.domain).filter(|record| !record.noticed) else {
                continue;
            };
            record.noticed = true;
            stopped.push((info.domain, reason));
        }
        stopped
    }

    /// A domain is gone only when its back ends have let its memory go.
    fn destroyed_by_others(&self, infos: &[GetDomainInfo]) -> Vec<End> {
        let records = self.records.borrow();
        let end = |(domain, record): (&DomId, &Record)| match infos.iter().find(|info| info.domain == *domain)
        {
            None => Some(End::Gone(*domain, record.config.uuid.unwrap_or_default())),
            Some(info) => {
                let dying = info.flags & DomainFlags::DYING.bits() != 0 && !record.ending;
                dying.then_some(End::Dying(*domain))
            }
        };
        records.iter().filter_map(end).collect()
    }

    async fn follow(&self, end: End) {
        match end {
            End::Stopped(domain, reason) => self.act(domain, reason).await,
            End::Dying(domain) => self.end_devices(domain).await,
            End::Gone(domain, uuid) => {
                self.end_devices(domain).await;
                if let Err(error) = self.forget(domain, &uuid) {
                    self.env.platform().log(format_args!("nodes of domain {domain} are left: {error}"));
                }
            }
        }
    }

    /// Does what is to follow, and says so.
    async fn act(&self, domain: DomId, reason: Reason) {
        let Some((name, action)) = self.action(domain, reason) else { return };
        let platform = self.env.platform();
        platform.log(format_args!(
            "Domain {domain} ({name}) has shut down: {}. Action: {}",
            reason_name(reason),
            action.name()
        ));
        let result = match action {
            Action::CoredumpDestroy | Action::CoredumpRestart => {
                platform.log(format_args!(
                    "There is no place for the memory of domain {domain}: no core is saved"
                ));
                let restart = action == Action::CoredumpRestart;
                if restart { self.restart(domain, reason).await } else { self.end(domain).await }
            }
            Action::Preserve => Ok(()),
            Action::Destroy => self.end(domain).await,
            Action::Restart => self.restart(domain, reason).await,
            Action::RenameRestart => self.restart_beside(domain, reason).await,
        };
        if let Err(error) = result {
            platform.log(format_args!("Domain {domain} ({name}): {} failed: {error}", action.name()));
        }
    }

    /// The domain's name, and what is to follow; `None` for nothing.
    fn action(&self, domain: DomId, reason: Reason) -> Option<(String, Action)> {
        let records = self.records.borrow();
        let config = &records.get(&domain)?.config;
        let action = match reason {
            // It waits to be resumed.
            Reason::Suspend => return None,
            // All domains are stopped for good.
            _ if self.stopping.get() => Action::Destroy,
            Reason::Poweroff => config.on_poweroff,
            Reason::Reboot => config.on_reboot,
            // To start again in the same memory is not possible here.
            Reason::Crash | Reason::SoftReset => config.on_crash,
            Reason::Watchdog => config.on_watchdog,
            Reason::Other(_) => Action::Destroy,
        };
        Some((config.name.clone(), action))
    }

    /// Ends the domain and makes it anew.
    async fn restart(&self, domain: DomId, reason: Reason) -> Done {
        self.rest(domain).await?;
        let next = self.next(domain, reason);
        self.end(domain).await?;
        let (config, history) = next?;
        self.start_again(config, history).await
    }

    /// Leaves the domain under another name, and makes it anew.
    async fn restart_beside(&self, domain: DomId, reason: Reason) -> Done {
        self.rest(domain).await?;
        let (config, history) = self.next(domain, reason)?;
        self.strip(domain).await;
        self.set_aside(domain)?;
        self.start_again(config, history).await
    }

    /// Waits if the domain was started just now. It is still there meanwhile, so its name
    /// stays its own. Who destroys it meanwhile wants no restart.
    async fn rest(&self, domain: DomId) -> Done {
        let age = self.records.borrow().get(&domain).map(|record| self.age_of(record));
        if age.is_some_and(|age| age < LEAST_AGE_NS) {
            self.env.platform().sleep(PAUSE_MS).await;
        }
        if self.info(domain)?.flags & DomainFlags::DYING.bits() != 0 {
            return Err(Failure(String::from("it is being destroyed")));
        }
        Ok(())
    }

    async fn start_again(&self, config: DomainConfig, history: History) -> Done {
        let name = config.name.clone();
        let domain = self.start(config, false, history).await?;
        self.env.platform().log(format_args!("Domain {name} has started again as domain {domain}"));
        Ok(())
    }

    /// What a domain is made anew from. One that crashes again and again soon after its
    /// start is not.
    fn next(&self, domain: DomId, reason: Reason) -> Done<(DomainConfig, History)> {
        let records = self.records.borrow();
        let record = records.get(&domain).ok_or_else(|| Failure(String::from("it is gone")))?;
        let crashes = self.crashes(record, reason);
        if crashes > MOST_CRASHES {
            return Err(Failure(format!(
                "it has crashed {crashes} times in a row within {} s of its start: it is not started again",
                SOON_NS / 1_000_000_000
            )));
        }
        let config = record.next.as_ref().unwrap_or(&record.config).clone();
        Ok((config, History { crashes }))
    }

    /// How often in a row it has crashed soon, with this time. Only one that ran for long
    /// begins anew: to start again is no sign of health.
    fn crashes(&self, record: &Record, reason: Reason) -> u32 {
        let crashed = !matches!(reason, Reason::Poweroff | Reason::Reboot);
        if self.age_of(record) < SOON_NS {
            record.history.crashes.saturating_add(u32::from(crashed))
        } else {
            0
        }
    }

    /// Time since a domain's start, ns.
    fn age_of(&self, record: &Record) -> u64 {
        self.env.platform().now_ns().saturating_sub(record.started_ns)
    }

    /// Gives a domain that stays a name with the time in it and another UUID, so that another
    /// can be what it was.
    fn set_aside(&self, domain: DomId) -> Done {
        let old = self.info(domain)?.handle;
        let stamp = time_stamp(self.env.platform().wall_seconds());
        let name = self.name(domain).unwrap_or_default();
        let name = self.free_name(domain, &format!("{name}-{stamp}"))?;
        self.name_it(domain, &name)?;
        let uuid = self.new_uuid();
        self.hypervisor().set_handle(domain, uuid).map_err(|error| of_domain(domain, error))?;
        tree::change_uuid(self.env.registry(), domain, &old, &uuid)?;
        if let Some(record) = self.records.borrow_mut().get_mut(&domain) {
            record.config.uuid = Some(uuid);
            record.next = None;
        }
        Ok(())
    }

    /// `wanted`, or with `-2`, `-3`, ... behind it where others have that name: some domains
    /// are set aside within a minute.
    fn free_name(&self, domain: DomId, wanted: &str) -> Done<String> {
        let others = (2_u64..).map(|number| format!("{wanted}-{number}"));
        for name in iter::once(String::from(wanted)).chain(others) {
            if self.is_name_free(&name, Some(domain))? {
                return Ok(name);
            }
        }
        Err(Failure(format!("all names that begin with {wanted:?} are taken")))
    }

    /// Domains beside Dom0, by number.
    pub(crate) fn guests(&self) -> Done<Vec<DomId>> {
        let infos = self.hypervisor().domains().map_err(failed)?;
        Ok(infos.iter().map(|info| info.domain).filter(|id| *id != crate::manager::DOM0).collect())
    }
}

/// A reason in words.
fn reason_name(reason: Reason) -> String {
    String::from(match reason {
        Reason::Poweroff => "it powered off",
        Reason::Reboot => "it wants to start again",
        Reason::Suspend => "it is suspended",
        Reason::Crash => "it crashed",
        Reason::Watchdog => "its watchdog fired",
        Reason::SoftReset => "it wants to start again in its memory",
        Reason::Other(code) => return format!("reason {code}, which nobody knows"),
    })
}

/// Seconds since 1970 as `20261122T2210Z`.
fn time_stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}Z", rest / 3600, rest / 60 % 60)
}

/// Days since 1970 as year, month and day of the Gregorian calendar: years begin in March,
/// 400 of them are an era of 146097 days (Howard Hinnant, "chrono-compatible low-level
/// date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days.saturating_add(719_468);
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use xl::toolstack::Toolstack;
    use xl_config::domain::Affinity;

    use super::*;
    use crate::testing::{World, config, run, turns};

    const REASONS: [(u32, Reason); 4] =
        [(0, Reason::Poweroff), (1, Reason::Reboot), (3, Reason::Crash), (4, Reason::Watchdog)];

    /// Turns in which a domain waits, ends and is made anew.
    const RESTART: usize = 400;

    /// A domain for which each reason has this action.
    fn acting(action: Action) -> DomainConfig {
        DomainConfig {
            on_poweroff: action,
            on_reboot: action,
            on_crash: action,
            on_watchdog: action,
            ..config("a")
        }
    }

    /// LIF-26, T-76, T-82: number of the domains after the end, names by number.
    #[test]
    fn what_follows_is_what_the_configuration_says() {
        for (code, reason) in REASONS {
            for (action, left) in [
                (Action::Destroy, &[][..]),
                (Action::Restart, &[(2, "a")][..]),
                (Action::RenameRestart, &[(1, "a-20261122T2210Z"), (2, "a")][..]),
                (Action::Preserve, &[(1, "a")][..]),
                (Action::CoredumpDestroy, &[][..]),
                (Action::CoredumpRestart, &[(2, "a")][..]),
            ] {
                let world = World::new();
                let manager = Manager::new(&world).unwrap();
                run(&manager, async {
                    let id = manager.create(acting(action), false).await.unwrap();
                    world.stop(id, code);
                    assert_eq!(manager.stopped(id).await, Some(reason));
                    turns(RESTART).await;
                });
                let domains = manager.domains().unwrap();
                let names: Vec<_> =
                    domains[1..].iter().map(|domain| (domain.id, domain.name.as_str())).collect();
                assert_eq!(names, left, "{reason:?} {action:?}");
                let cored = matches!(action, Action::CoredumpDestroy | Action::CoredumpRestart);
                assert_eq!(world.logged("no core is saved"), cored);
                if left.is_empty() {
                    world.assert_empty("after an end");
                }
            }
        }
    }

    /// T-19, T-26, CPU-10, CPU-13: what was changed while it ran ends with the domain, whether it
    /// reboots or is made again; what its configuration says stays.
    #[test]
    fn shares_and_pins_of_a_running_domain_end_with_it() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let wanted = || DomainConfig {
            weight: 512,
            cap: 150,
            cpus: Affinity::All("1-3".parse().unwrap()),
            ..acting(Action::Restart)
        };
        let is_as_configured = |id| {
            world.guest(id, |guest| {
                assert_eq!(guest.share, (512, 150), "domain {id}");
                assert_eq!(guest.hard, [(0, 0b1110), (1, 0b1110)].into(), "domain {id}");
                assert!(guest.soft.is_empty(), "domain {id}");
            });
        };
        let change = |id| {
            is_as_configured(id);
            manager.set_share(id, Some(1), Some(50)).unwrap();
            manager.set_affinity(id, Some(0), Some(&[1, 3]), Some(&[1])).unwrap();
            world.guest(id, |guest| {
                assert_eq!((guest.share, guest.hard.get(&0)), ((1, 50), Some(&0b1010)));
            });
        };
        run(&manager, async {
            let id = manager.create(wanted(), false).await.unwrap();
            change(id);
            world.stop(id, 1);
            turns(RESTART).await;
            let rebooted = id + 1;
            change(rebooted);
            manager.destroy(rebooted).await.unwrap();
            is_as_configured(manager.create(wanted(), false).await.unwrap());
        });
    }

    /// LIF-23: the clock of a test stands still within one minute.
    #[test]
    fn domains_that_are_set_aside_at_the_same_time_have_different_names() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            manager.create(acting(Action::RenameRestart), false).await.unwrap();
            for id in 1..=3 {
                world.stop(id, 1);
                turns(RESTART).await;
            }
        });
        let domains = manager.domains().unwrap();
        let names: Vec<_> = domains[1..].iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!(names, ["a-20261122T2210Z", "a-20261122T2210Z-2", "a-20261122T2210Z-3", "a"]);
    }

    #[test]
    fn reasons_without_an_action_of_their_own() {
        for (code, left) in [(2, 1), (5, 0), (17, 0)] {
            let world = World::new();
            let manager = Manager::new(&world).unwrap();
            run(&manager, async {
                let id = manager.create(config("a"), false).await.unwrap();
                world.stop(id, code);
                manager.stopped(id).await;
                turns(RESTART).await;
            });
            assert_eq!(world.ids().len(), left, "reason {code}");
        }
    }

    #[test]
    fn who_watches_for_ends_hears_of_each_domain_that_stops_once() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let preserved = manager.create(acting(Action::Preserve), false).await.unwrap();
            let destroyed = manager.create(config("b"), false).await.unwrap();
            world.stop(preserved, 3);
            turns(RESTART).await;
            world.stop(destroyed, 0);
            turns(RESTART).await;
            assert_eq!(*world.stopped.borrow(), [preserved, destroyed]);
        });
    }

    /// T-77, LIF-16: a restart is made from what the domain was made from; UUID and name
    /// stay, what was changed while it ran does not.
    #[test]
    fn a_restart_is_the_same_domain() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            let uuid = manager.config(id).unwrap().uuid;
            manager.set_vcpus(id, 2).unwrap();
            manager.set_share(id, Some(1000), None).unwrap();
            world.stop(id, 1);
            manager.stopped(id).await;
            turns(RESTART).await;
            let (new, config) = (world.ids()[0], manager.config(world.ids()[0]).unwrap());
            assert_ne!(new, id);
            assert_eq!((config.uuid, config.name.as_str()), (uuid, "a"));
            assert_eq!(world.guest(new, |guest| guest.share), (256, 0));
            assert_eq!(
                world.value(&format!("/local/domain/{new}/cpu/1/availability")).as_deref(),
                Some("offline")
            );
        });
    }

    #[test]
    fn a_configuration_that_was_updated_is_that_of_the_restart() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            let uuid = manager.config(id).unwrap().uuid;
            manager.update_config(id, DomainConfig { weight: 700, ..config("ignored") }).unwrap();
            assert_eq!(manager.config(id).unwrap().weight, 700);
            assert_eq!(world.guest(id, |guest| guest.share.0), 256, "at once nothing changes");
            world.stop(id, 1);
            manager.stopped(id).await;
            turns(RESTART).await;
            let new = world.ids()[0];
            assert_eq!(world.guest(new, |guest| guest.share.0), 700);
            assert_eq!(manager.config(new).unwrap().uuid, uuid);
            assert!(manager.update_config(0, config("b")).is_err());
        });
    }

    #[test]
    fn a_domain_that_crashes_on_and_on_is_given_up() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            manager.create(acting(Action::Restart), false).await.unwrap();
            for _ in 0..MOST_CRASHES {
                world.stop(world.ids()[0], 3);
                turns(RESTART).await;
                assert_eq!(world.ids().len(), 1);
            }
            world.stop(world.ids()[0], 3);
            turns(RESTART).await;
        });
        assert!(world.logged("it has crashed 6 times in a row"));
        world.assert_empty("after too many crashes");
    }

    #[test]
    fn a_reboot_between_crashes_does_not_make_them_good() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            manager.create(acting(Action::Restart), false).await.unwrap();
            for code in [3, 1].into_iter().cycle().take(2 * MOST_CRASHES as usize) {
                world.stop(world.ids()[0], code);
                turns(RESTART).await;
                assert_eq!(world.ids().len(), 1);
            }
            world.stop(world.ids()[0], 3);
            turns(RESTART).await;
        });
        assert!(world.logged("it has crashed 6 times in a row"));
        world.assert_empty("after too many crashes");
    }

    #[test]
    fn a_domain_that_stops_at_once_waits_for_its_restart() {
        for (action, wait) in [(Action::Restart, 1000), (Action::RenameRestart, 1000), (Action::Restart, 0)] {
            let world = World::new();
            let manager = Manager::new(&world).unwrap();
            let age = 1000 - wait;
            run(&manager, async {
                let id = manager.create(acting(action), false).await.unwrap();
                world.now_ms.set(world.now_ms.get() + age);
                let start = world.now_ms.get();
                world.stop(id, 1);
                turns(8).await;
                let taken = manager.create(config("a"), false).await.unwrap_err();
                assert!(taken.0.contains("exists already"), "the name is kept: {taken}");
                turns(RESTART).await;
                assert!(world.logged("has started again"));
                // An end takes some slices of 1 ms beside.
                assert!((wait..wait + 10).contains(&(world.now_ms.get() - start)), "{action:?} {age}");
            });
        }
    }

    #[test]
    fn a_domain_that_is_destroyed_while_it_waits_is_not_made_anew() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(acting(Action::Restart), false).await.unwrap();
            world.stop(id, 1);
            turns(8).await;
            manager.destroy(id).await.unwrap();
            turns(RESTART).await;
        });
        assert!(!world.logged("has started again"));
        world.assert_empty("after a destroy before the restart");
    }

    #[test]
    fn one_that_ran_for_long_is_not() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            manager.create(acting(Action::Restart), false).await.unwrap();
            for _ in 0..=MOST_CRASHES {
                world.now_ms.set(world.now_ms.get() + 61_000);
                world.stop(world.ids()[0], 3);
                turns(RESTART).await;
            }
        });
        assert_eq!(world.ids().len(), 1);
    }

    #[test]
    fn a_restart_that_fails_is_told_and_leaves_nothing() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.files.borrow_mut().clear();
            world.stop(id, 1);
            assert_eq!(manager.stopped(id).await, Some(Reason::Reboot));
            turns(RESTART).await;
        });
        assert!(world.logged("restart failed: kernel: no such file"), "{:?}", world.log.borrow());
        world.assert_empty("after a restart that failed");
    }

    #[test]
    fn restarts_do_not_wait_for_each_other() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let a = manager.create(config("a"), false).await.unwrap();
            let b = manager.create(config("b"), false).await.unwrap();
            world.stop(a, 1);
            world.stop(b, 1);
            turns(RESTART).await;
        });
        assert_eq!(world.most_building.get(), 2);
        assert_eq!(world.ids(), [3, 4]);
    }

    /// The domain of a test's own, which has no record here, stays as it stopped.
    #[test]
    fn a_domain_that_nobody_here_made_is_left_alone() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            let record = manager.records.borrow_mut().remove(&id);
            world.stop(id, 0);
            turns(RESTART).await;
            assert_eq!(world.ids(), [id]);
            manager.records.borrow_mut().extend(record.map(|record| (id, record)));
        });
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(time_stamp(0), "19700101T0000Z");
        assert_eq!(time_stamp(951_782_399), "20000228T2359Z");
        assert_eq!(time_stamp(951_782_400), "20000229T0000Z");
        assert_eq!(time_stamp(1_795_385_400), "20261122T2210Z");
        assert_eq!(time_stamp(4_107_542_399), "21000228T2359Z");
        assert_eq!(time_stamp(4_107_542_400), "21000301T0000Z");
    }
}
