//! Domains that start with the machine, and all domains' end before the machine's
//! (what `xendomains` does; AUT-01 to AUT-05).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::pin::pin;

use futures_util::future::{Either, join_all, select};
use xen_abi::sched::ShutdownReason;
use xl::toolstack::{DomId, Done, Failure, Request};
use xl_config::domain::DomainConfig;

use crate::create::History;
use crate::environment::{Environment, Files, Platform};
use crate::hypervisor::Hypervisor;
use crate::manager::{Manager, failed};

/// Where configurations are that start by themselves.
const FOLDER: &str = "auto/";
/// How long domains may take to shut down, ms (`XENDOMAINS_STOP_MAXWAIT`).
const PATIENCE_MS: u64 = 300_000;

impl<E: Environment> Manager<E> {
    /// Starts the domains whose configurations are in `auto/`, in the order of their
    /// names, one after the other; one that fails does not keep the next from starting.
    /// `load` reads a configuration's name and text. Returns how many have started.
    pub async fn autostart<F: Display>(
        &self,
        load: impl Fn(&str, &[u8]) -> Result<DomainConfig, F>,
    ) -> usize {
        let mut names: Vec<String> = self.env.files().list().into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name.starts_with(FOLDER) && !name.ends_with('/'));
        names.sort();
        let mut started = 0;
        for name in names {
            match self.start_file(&name, &load).await {
                Ok((domain, config)) => {
                    started += 1;
                    self.env
                        .platform()
                        .log(format_args!("autostart: {config} has started as domain {domain}"));
                }
                Err(error) => self.env.platform().log(format_args!("autostart: {name}: {error}")),
            }
        }
        started
    }

    async fn start_file<F: Display>(
        &self,
        name: &str,
        load: &impl Fn(&str, &[u8]) -> Result<DomainConfig, F>,
    ) -> Done<(DomId, String)> {
        let config = {
            let text = self.env.files().read(name)?;
            load(name, &text).map_err(|error| Failure(error.to_string()))?
        };
        let domain_name = config.name.clone();
        for advice in self.advise_before_start(&config) {
            self.env.platform().log(format_args!("autostart: {domain_name}: {advice}"));
        }
        let domain = self.start(config, false, History::default()).await?;
        Ok((domain, domain_name))
    }

    /// Stops all domains, then the machine (AUT-03): those that listen are asked and
    /// waited for; the rest, and who takes too long, is destroyed (LIF-31).
    pub(crate) async fn stop_all(&self, request: Request) -> Done {
        self.stopping.set(true);
        self.stop_guests().await;
        let reason = match request {
            Request::Poweroff => ShutdownReason::Poweroff,
            Request::Reboot => ShutdownReason::Reboot,
        };
        self.env.platform().log(format_args!("All domains have ended: the machine stops"));
        let refused = self.hypervisor().shutdown(reason).map_err(failed);
        self.stopping.set(false);
        refused
    }

    async fn stop_guests(&self) {
        let platform = self.env.platform();
        let guests = self.guests().unwrap_or_default();
        let mut asked = Vec::new();
        for domain in guests {
            match self.ask(domain, Request::Poweroff, false) {
                Ok(()) => {
                    platform.log(format_args!("Domain {domain} is asked to shut down"));
                    asked.push(domain);
                }
                Err(error) => {
                    platform.log(format_args!("Domain {domain} cannot be asked: {error}"));
                    self.end_loudly(domain).await;
                }
            }
        }
        let all = pin!(join_all(asked.iter().map(|domain| self.wait_gone(*domain))));
        if let Either::Right(_) = select(all, pin!(platform.sleep(PATIENCE_MS))).await {
            platform.log(format_args!("{} s are over: the rest is destroyed", PATIENCE_MS / 1000));
        }
        for domain in self.guests().unwrap_or_default() {
            self.end_loudly(domain).await;
        }
    }

    /// Waits until a domain has stopped by itself, or is gone.
    async fn wait_gone(&self, domain: DomId) {
        xl::toolstack::Toolstack::stopped(self, domain).await;
    }

    async fn end_loudly(&self, domain: DomId) {
        // One that is gone by itself meanwhile needs no end.
        if self.info(domain).is_err() {
            return;
        }
        self.env.platform().log(format_args!("Domain {domain} is destroyed"));
        if let Err(error) = self.end(domain).await {
            self.env.platform().log(format_args!("Domain {domain}: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use xl::toolstack::Toolstack;

    use super::*;
    use crate::testing::{World, config, run};

    fn load(name: &str, text: &[u8]) -> Result<DomainConfig, String> {
        if text.is_empty() {
            Err(alloc::format!("{name}:1:1: empty"))
        } else {
            Ok(config(&String::from_utf8_lossy(text)))
        }
    }

    /// AUT-01, AUT-02.
    #[test]
    fn domains_start_in_the_order_of_their_files() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        for (name, text) in [("auto/20-b", "b"), ("auto/10-a", "a"), ("auto/15-bad", ""), ("c", "c")] {
            world.files.borrow_mut().insert(String::from(name), text.into());
        }
        assert_eq!(run(&manager, manager.autostart(load)), 2);
        let domains = manager.domains().unwrap();
        let names: Vec<_> = domains.iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!(names, ["Domain-0", "a", "b"]);
        assert!(world.logged("auto/15-bad: auto/15-bad:1:1: empty"));
    }

    /// AUT-03, LIF-31.
    #[test]
    fn all_domains_end_before_the_machine_stops() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let start = world.now_ms.get();
        run(&manager, async {
            let listens = manager.create(config("listens"), false).await.unwrap();
            world.set(&alloc::format!("/local/domain/{listens}/control/feature-poweroff"), "1");
            let deaf = manager.create(config("deaf"), false).await.unwrap();
            manager.create(config("paused"), true).await.unwrap();
            manager.power(Request::Reboot).await.unwrap();
            assert!(world.logged(&alloc::format!("Domain {listens} is asked to shut down")));
            assert!(world.logged(&alloc::format!("Domain {deaf} is destroyed")));
        });
        assert_eq!(world.machine_stops.get(), Some(ShutdownReason::Reboot));
        assert!(world.now_ms.get() < start + PATIENCE_MS);
        world.assert_empty("when the machine stops");
    }

    #[test]
    fn who_takes_too_long_is_destroyed() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let start = world.now_ms.get();
        run(&manager, async {
            let id = manager.create(config("slow"), false).await.unwrap();
            // It listens, but to a node that the test's guest does not look at.
            world.guest(id, |guest| guest.deaf = true);
            world.set(&alloc::format!("/local/domain/{id}/control/feature-poweroff"), "1");
            manager.power(Request::Poweroff).await.unwrap();
        });
        assert!(world.now_ms.get() >= start + PATIENCE_MS && world.logged("300 s are over"));
        assert_eq!(world.machine_stops.get(), Some(ShutdownReason::Poweroff));
        world.assert_empty("when the machine stops");
    }

    #[test]
    fn no_domain_starts_while_the_machine_stops() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        manager.stopping.set(true);
        assert!(run(&manager, manager.create(config("a"), false)).unwrap_err().0.contains("about to stop"));
    }
}
