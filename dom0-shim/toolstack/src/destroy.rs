//! How a domain ends: its console is read out, its devices are closed, its rings are given
//! back, all that it had is free again, its nodes are removed.

use xl::toolstack::{DomId, Done, Failure};

use alloc::format;
use alloc::string::String;

use crate::environment::{Environment, Platform, Registry};
use crate::hypervisor::Hypervisor;
use crate::manager::{DOM0, Manager, of_domain};
use crate::tree;

/// Time between two slices of an end for which a pcpu has to be waited for, ms.
const SLICE_MS: u64 = 1;

impl<E: Environment> Manager<E> {
    /// Ends a domain, whatever its state, and whoever made it (LIF-15).
    pub(crate) async fn end(&self, domain: DomId) -> Done {
        if domain == DOM0 {
            return Err(Failure(String::from("Domain-0 cannot be destroyed: use poweroff or reset")));
        }
        let uuid = self.info(domain)?.handle;
        // So that its last words are its last. It ends without that, too.
        let _ = self.hypervisor().pause(domain);
        self.close_console(domain);
        self.env.registry().release(domain);
        self.end_devices(domain).await;
        loop {
            match self.hypervisor().destroy_slice(domain) {
                Ok(true) => break,
                Ok(false) => self.env.platform().sleep(SLICE_MS).await,
                // Somebody else was faster.
                Err(error) => {
                    self.unless_gone(domain, error)?;
                    break;
                }
            }
        }
        self.forget(domain, &uuid)
    }

    /// Removes what is kept of a domain that is gone.
    pub(crate) fn forget(&self, domain: DomId, uuid: &[u8; 16]) -> Done {
        self.close_console(domain);
        self.env.registry().release(domain);
        self.records.borrow_mut().remove(&domain);
        let removed = tree::uproot(self.env.registry(), domain, uuid);
        self.changed.notify(usize::MAX);
        removed
    }

    /// Undoes a start that failed.
    pub(crate) fn undo(&self, domain: DomId, uuid: &[u8; 16]) {
        self.forget_devices(domain);
        self.close_console(domain);
        self.env.registry().release(domain);
        if let Err(error) = self.hypervisor().destroy(domain) {
            self.env.platform().log(format_args!("domain {domain} is left of a start that failed: {error}"));
        }
        if let Err(error) = self.forget(domain, uuid) {
            self.env.platform().log(format_args!("nodes are left of a start that failed: {error}"));
        }
        self.consoles.discard(domain);
    }

    /// Whether an error means that there is no such domain any more.
    fn unless_gone(&self, domain: DomId, error: xen_control::Error) -> Done {
        match self.hypervisor().info(domain) {
            Err(xen_control::Error::Refused(_, xen_abi::errno::Errno::ESRCH)) => Ok(()),
            _ => Err(Failure(format!("cannot destroy it: {}", of_domain(domain, error)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;
    use pollster::block_on;
    use xl::toolstack::Toolstack;

    use crate::manager::Manager;
    use crate::testing::{World, config, run};

    /// LIF-15, LIF-18.
    #[test]
    fn nothing_is_left_of_a_domain_in_any_state() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        for (state, act) in [
            ("running", (|_, _| ()) as fn(&World, u16)),
            ("paused", |world, id| world.guest(id, |guest| guest.flags |= 8)),
            ("preserved", |world, id| world.guest(id, |guest| guest.flags |= 3 << 16 | 4)),
        ] {
            let id = block_on(manager.create(config("a"), false)).unwrap();
            act(&world, id);
            assert_eq!(block_on(manager.destroy(id)), Ok(()), "{state}");
            world.assert_empty(state);
            assert_eq!(manager.config(id), None);
            assert!(block_on(manager.destroy(id)).unwrap_err().0.ends_with("does not exist"));
        }
    }

    #[test]
    fn two_may_end_the_same_domain() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        assert_eq!(block_on(join(manager.destroy(id), manager.destroy(id))), (Ok(()), Ok(())));
        world.assert_empty("after two ends");
    }

    #[test]
    fn a_domain_that_nobody_here_made_can_be_ended() {
        let world = World::new();
        let other = Manager::new(&world).unwrap();
        let id = block_on(other.create(config("a"), false)).unwrap();
        world.ports.borrow_mut().clear();
        world.guest(id, |guest| guest.ring.borrow_mut().mapped = false);
        let manager = Manager::new(&world).unwrap();
        assert_eq!(manager.domains().unwrap().len(), 2);
        assert_eq!(block_on(manager.destroy(id)), Ok(()));
        world.assert_empty("after a foreign domain");
        core::mem::forget(other);
    }

    #[test]
    fn what_is_kept_of_a_domain_goes_when_somebody_else_destroys_it() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.guests.borrow_mut().remove(&id);
            world.tell();
            assert_eq!(manager.stopped(id).await, None);
            assert_eq!(manager.console_output(id).await, None);
        });
        world.assert_empty("after somebody else's destroy");
        assert!(manager.records.borrow().is_empty());
    }

    #[test]
    fn dom0_is_not_destroyed() {
        let world = World::new();
        assert!(block_on(Manager::new(&world).unwrap().destroy(0)).is_err());
    }
}
