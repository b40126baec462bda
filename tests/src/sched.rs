//! What the tests of the scheduler share.
//!
//! ```text
//!  d0  Stage ── Dom0 on pcpu 0 alone, the time slice; both as before at the end
//!      Load ─── a domain whose vcpus are busy; `toggle` lets them sleep and go on
//!      shares ─ how much of a pcpu each vcpu of some loads got in a window
//! ```
//!
//! Shares are in hundredths of a percent of a pcpu, as `getvcpuinfo` tells the time that a vcpu ran. What
//! they are compared with is the weighted max-min fair share.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::hint::black_box;

use guest_rt::smp::{self, Start};
use guest_rt::window::Window as Kernel;
use guest_rt::{clock, println, trap};
use xen_abi::domctl::{SchedCredit, Trigger};
use xen_abi::sysctl::CreditSchedule;
use xen_control::calls;

use crate::controller::{Controller, Domain, LIMIT_MS};
use crate::guest::Guest;
use crate::test::Shape;
use crate::timing::sleep_ms;
use crate::verdict::{Check, Problem};

/// A whole pcpu.
pub const PCPU: u64 = 10_000;
/// Time slice of most tests: short, so that short windows hold many of them.
pub const SLICE_MS: u32 = 5;
/// Window of most tests.
pub const WINDOW_MS: u64 = 400;
/// How far a share may be from the ideal one, in percent of that.
const TOLERANCE: u64 = 3;
/// A change has taken effect everywhere.
const SETTLE_MS: u64 = 20;
/// What a load prints when all its vcpus are busy.
const READY: &str = "busy";
const NMI: u8 = 2;
/// Of a domain's share: what leaves weight and cap as they are.
const KEEP_WEIGHT: u16 = 0;
const KEEP_CAP: u16 = u16::MAX;

/// Dom0 keeps to pcpu 0, with a time slice of its own; dropped, both are as before.
pub struct Stage<'a> {
    host: &'a Kernel,
    slices: CreditSchedule,
    affinity: u64,
}

impl<'a> Stage<'a> {
    /// With a time slice of `tslice_ms`, or the one that is set.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn new(controller: &'a Controller, tslice_ms: Option<u32>) -> Check<Self> {
        let host = controller.host()?;
        let stage = Self { host, slices: calls::slices(host)?, affinity: calls::get_affinity(host, 0, 0)?.0 };
        let tslice_ms = tslice_ms.unwrap_or(stage.slices.tslice_ms);
        calls::set_slices(host, CreditSchedule { tslice_ms, ..stage.slices })?;
        calls::set_affinity(host, 0, 0, 1)?;
        Ok(stage)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let slices = calls::set_slices(self.host, self.slices);
        for error in
            [slices, calls::set_affinity(self.host, 0, 0, self.affinity)].into_iter().flat_map(Result::err)
        {
            println!("Dom0: {error}");
        }
    }
}

/// A domain whose vcpus are busy, once it is started.
pub struct Load<'a> {
    host: &'a Kernel,
    domain: Domain<'a>,
    vcpus: u32,
}

impl<'a> Load<'a> {
    /// A domain of the test `test`, which runs [`busy`]; for each vcpu the pcpus that it may run on, as bits. It is
    /// paused.
    ///
    /// # Errors
    ///
    /// As [`Controller::spawn`].
    pub fn new(controller: &'a Controller, test: &str, pcpus: &[u64]) -> Check<Self> {
        Self::with_role(controller, test, &format!("{}", pcpus.len()), pcpus)
    }

    /// The same in a role of its test, in which it prints `busy` when it is ready.
    ///
    /// # Errors
    ///
    /// As [`Controller::spawn`].
    pub fn with_role(controller: &'a Controller, test: &str, role: &str, pcpus: &[u64]) -> Check<Self> {
        let vcpus = u32::try_from(pcpus.len()).map_err(|error| Problem::Error(format!("{error}")))?;
        let domain = controller.spawn(test, role, Shape { vcpus, ..Shape::SMALL })?;
        let load = Self { host: controller.host()?, domain, vcpus };
        for (vcpu, pcpus) in (0..).zip(pcpus) {
            load.pin(vcpu, *pcpus)?;
        }
        Ok(load)
    }

    /// Starts it, and waits until all its vcpus are busy.
    ///
    /// # Errors
    ///
    /// A FAILURE when they are not in time.
    pub fn start(&mut self) -> Check {
        self.domain.start()?;
        self.domain.wait_for(READY, LIMIT_MS)
    }

    /// The domain.
    pub fn domain(&mut self) -> &mut Domain<'a> {
        &mut self.domain
    }

    /// Changes its weight.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn set_weight(&self, weight: u16) -> Check {
        Ok(calls::set_share(self.host, self.domain.id(), SchedCredit { weight, cap: KEEP_CAP })?)
    }

    /// Limits it to `cap` percent of a pcpu, or not at all with 0.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn set_cap(&self, cap: u16) -> Check {
        Ok(calls::set_share(self.host, self.domain.id(), SchedCredit { weight: KEEP_WEIGHT, cap })?)
    }

    /// Lets `vcpu` run on these pcpus only.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn pin(&self, vcpu: u32, pcpus: u64) -> Check {
        Ok(calls::set_affinity(self.host, self.domain.id(), vcpu, pcpus)?)
    }

    /// Lets its vcpus sleep, or go on.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn toggle(&self) -> Check {
        for vcpu in 0..self.vcpus {
            calls::trigger(self.host, self.domain.id(), Trigger::Nmi, vcpu)?;
        }
        Ok(())
    }

    /// Takes its vcpus off the pcpus.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn pause(&self) -> Check {
        Ok(calls::pause(self.host, self.domain.id())?)
    }

    /// Undoes a pause.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn unpause(&self) -> Check {
        Ok(calls::unpause(self.host, self.domain.id())?)
    }

    /// How long each of its vcpus ran so far, ns.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn ran(&self) -> Check<Vec<u64>> {
        let ran = |vcpu| Ok(calls::vcpu_info(self.host, self.domain.id(), vcpu)?.cpu_time);
        (0..self.vcpus).map(ran).collect()
    }

    /// The pcpu on which `vcpu` is or was last.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn pcpu(&self, vcpu: u32) -> Check<u32> {
        Ok(calls::vcpu_info(self.host, self.domain.id(), vcpu)?.cpu)
    }
}

/// What each vcpu of `loads` got in a window of `ms` milliseconds, after the last change has taken effect.
///
/// # Errors
///
/// What the hypervisor says.
pub fn shares(ms: u64, loads: &[&Load<'_>]) -> Check<Vec<Vec<u64>>> {
    sleep_ms(SETTLE_MS)?;
    shares_at_once(ms, loads)
}

/// The same, from now on.
///
/// # Errors
///
/// What the hypervisor says.
pub fn shares_at_once(ms: u64, loads: &[&Load<'_>]) -> Check<Vec<Vec<u64>>> {
    let read = |load: &&Load<'_>| Ok((clock::ticks_ns(), load.ran()?));
    let before = loads.iter().map(read).collect::<Check<Vec<_>>>()?;
    sleep_ms(ms)?;
    let after = loads.iter().map(read).collect::<Check<Vec<_>>>()?;
    let of_load = |((from, before), (to, after)): ((u64, Vec<u64>), (u64, Vec<u64>))| {
        let window = to.saturating_sub(from).max(1);
        before.iter().zip(&after).map(|(before, after)| (after - before) * PCPU / window).collect()
    };
    Ok(before.into_iter().zip(after).map(of_load).collect())
}

/// The sum of the vcpus' shares, for each load.
pub fn of_domains(shares: &[Vec<u64>]) -> Vec<u64> {
    shares.iter().map(|vcpus| vcpus.iter().sum()).collect()
}

/// Fails unless each share is within 3 % of its ideal.
///
/// # Errors
///
/// A FAILURE with both.
pub fn expect(what: &str, shares: &[u64], ideal: &[u64]) -> Check {
    println!("{what}: {}", percent(shares));
    let near = |(share, ideal): (&u64, &u64)| share.abs_diff(*ideal) * 100 <= ideal * TOLERANCE;
    let all = shares.len() == ideal.len() && shares.iter().zip(ideal).all(near);
    ensure!(all, "{what}: {} %, expected {} %", percent(shares), percent(ideal));
    Ok(())
}

fn percent(shares: &[u64]) -> String {
    let mut text = String::new();
    for share in shares {
        let space = if text.is_empty() { "" } else { " " };
        // A string takes all that is written to it.
        let _ = write!(text, "{space}{}.{:02}", share / 100, share % 100);
    }
    text
}

/// A domain of a load: as many vcpus as its role says are busy, until the first NMI, and again after the next.
/// The toggle is for all of them: each gets an NMI, and the first one counts.
pub fn busy(guest: &Guest) -> Check {
    let vcpus = guest.role().parse().map_err(|_| Problem::Error(format!("role `{}`", guest.role())))?;
    trap::set_handler(NMI, |_| {});
    for vcpu in 1..vcpus {
        smp::start(vcpu, Start::Hypercall)
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, move || work(vcpus.into()));
    }
    println!("{READY}");
    work(vcpus.into())
}

fn work(vcpus: u64) -> ! {
    loop {
        // Emulators hold back what is to move it while its interrupts are off.
        trap::enable();
        while !asleep(vcpus) {
            count();
        }
        // With interrupts off it would be down, and with all its vcpus down the domain ends.
        trap::wait();
    }
}

/// Whether an odd number of toggles has begun.
fn asleep(vcpus: u64) -> bool {
    trap::count(NMI).div_ceil(vcpus) % 2 == 1
}

/// Is busy for a moment. Without PAUSE: a hypervisor may take that for waiting.
pub fn count() {
    for n in 0..1_000 {
        black_box(n);
    }
}
