//! How a domain ends: its console is read out, its rings are given back, all that it
//! had is free again, its nodes are removed.

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
