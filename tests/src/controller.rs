//! Dom0: runs the tests.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use guest_rt::boot::Boot;
use guest_rt::catch;
use guest_rt::clock;
use guest_rt::hypercall;
use guest_rt::println;
use xen_abi::RawDomid;
use xen_abi::arch_x86::{ArchDomainConfig, Emulation};
use xen_abi::domctl::{CreateDomain, CreateFlags, DomainFlags, GetDomainInfo, SHUTDOWN_MASK, SHUTDOWN_SHIFT};
use xen_abi::errno::Errno;
use xen_abi::sched::ShutdownReason;
use xen_control::builder::{self, Config};
use xen_control::console::Console;
use xen_control::foreign::Window;
use xen_control::{Error, calls};
use zerocopy::FromZeros;

use crate::cases;
use crate::guest::{Guest, VERDICT};
use crate::test::{GuestMain, Kind, Shape, Test};
use crate::verdict::{Check, Line, Problem};
use guest_rt::window::Window as Kernel;

/// Time that a test's domain may take, unless the test says otherwise.
pub const LIMIT_MS: u64 = 10_000;
/// Time in which the frames of a destroyed domain have to be back.
const SETTLE_MS: u64 = 2_000;
/// Longest line of names: what a console shows, and passes on in one piece.
const LINE: usize = 100;

/// Runs the tests that the command line chooses, prints their verdicts and turns the
/// machine off.
pub fn main(boot: &'static Boot) -> ! {
    let controller = Controller::new(boot);
    let runs = runs(boot.option("filter"));
    println!("TESTS planned: {}", runs.len());
    print_plan(&runs);
    for run in &runs {
        println!("TEST {}: START", run.name);
        println!("TEST {}: {}", run.name, Line(&controller.run(run)));
    }
    println!("TESTS done");
    hypercall::shutdown(ShutdownReason::Poweroff)
}

/// One run of a test.
struct Run {
    name: String,
    test: &'static Test,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Here(fn(&Controller) -> Check),
    GuestHere(GuestMain),
    Domain(Shape),
}

/// The runs whose names, or whose tests' names, are in `filter`: a list with commas, in
/// which `*` ends a prefix.
fn runs(filter: Option<&str>) -> Vec<Run> {
    let all = cases::ALL.iter().flat_map(|test| {
        let run = |name: String, what| Run { name, test, what };
        let name = || test.name.to_string();
        match test.kind {
            Kind::Dom0(main) | Kind::Control(main, _) => [Some(run(name(), What::Here(main))), None],
            Kind::DomU(shape, _) => [Some(run(name(), What::Domain(shape))), None],
            Kind::Both(main) => [
                Some(run(name(), What::GuestHere(main))),
                Some(run(format!("{}-in-domu", test.name), What::Domain(Shape::SMALL))),
            ],
        }
    });
    let wanted = |run: &Run| filter.is_none_or(|list| list.split(',').any(|item| matches(item, run)));
    all.flatten().filter(wanted).collect()
}

fn matches(item: &str, run: &Run) -> bool {
    match item.strip_suffix('*') {
        Some(prefix) => run.name.starts_with(prefix),
        None => item == run.name || item == run.test.name,
    }
}

fn print_plan(runs: &[Run]) {
    let mut line = String::new();
    for run in runs {
        if !line.is_empty() && line.len() + run.name.len() > LINE {
            println!("TESTS plan:{line}");
            line.clear();
        }
        line += " ";
        line += &run.name;
    }
    if !line.is_empty() {
        println!("TESTS plan:{line}");
    }
}

/// What tests in Dom0 have.
pub struct Controller {
    boot: &'static Boot,
    window: Result<Window<Kernel>, Errno>,
    pcpus: u32,
    /// Free pages that there have to be after the test.
    expected: Cell<Option<u64>>,
}

impl Controller {
    /// With what is made once: the window, the shared page, what a first domain leaves.
    pub fn new(boot: &'static Boot) -> Self {
        let window = Kernel::new().map(Window::new);
        let pcpus = window.as_ref().ok().and_then(|w| calls::physinfo(w.host()).ok());
        let pcpus = pcpus.map_or(1, |info| info.nr_cpus);
        let controller = Self { boot, window, pcpus, expected: Cell::new(None) };
        // What is allocated once, for Dom0 or for the first domain, is not missing after
        // a test. A hypervisor without a shared page is found out by its tests.
        let _ = clock::map_shared_info();
        if let Ok(window) = controller.window() {
            let _ = builder::build(window, &controller.config(Shape::SMALL, ""))
                .and_then(|built| calls::destroy(window.host(), built.id));
        }
        controller
    }

    /// Start information of Dom0.
    pub fn boot(&self) -> &'static Boot {
        self.boot
    }

    /// Pcpus of the host.
    pub fn pcpus(&self) -> u32 {
        self.pcpus
    }

    /// The way to other domains.
    ///
    /// # Errors
    ///
    /// A SKIP where the hypervisor has none.
    pub fn window(&self) -> Check<&Window<Kernel>> {
        let skip = |errno| Problem::Skip(format!("the hypervisor takes no memory back: {errno:?}"));
        self.window.as_ref().map_err(|errno| skip(*errno))
    }

    /// The kernel as `xen_control` wants it.
    ///
    /// # Errors
    ///
    /// As [`Self::window`].
    pub fn host(&self) -> Check<&Kernel> {
        self.window().map(Window::host)
    }

    fn run(&self, run: &Run) -> Check {
        if let Some(need) = run.test.needs.iter().find(|need| !need.is_met(self.pcpus)) {
            skip!("needs {need:?}");
        }
        self.expected.set(self.free_pages());
        let mut check = Ok(());
        let caught = catch::catch(|| {
            check = match run.what {
                What::Here(main) => main(self),
                What::GuestHere(main) => main(&Guest::new(self.boot)),
                What::Domain(shape) => self.run_domain(run.test.name, shape),
            }
        });
        if let Some(message) = caught {
            self.destroy_all();
            return Err(Problem::Crash(message.text().into()));
        }
        check.and_then(|()| self.all_back(self.expected.get()))
    }

    /// Destroys what a test that crashed left.
    fn destroy_all(&self) {
        let Ok(host) = self.host() else { return };
        for domain in calls::list(host, 1, 64).unwrap_or_default() {
            // Each is one that the test made; what cannot be destroyed stays.
            let _ = calls::destroy(host, domain.domain);
        }
    }

    /// Runs a test in a domain of its own; the verdict is what the domain says.
    fn run_domain(&self, name: &str, shape: Shape) -> Check {
        let mut domain = self.spawn(name, "", shape)?;
        domain.start()?;
        domain.wait(LIMIT_MS)?;
        domain.verdict()
    }

    /// Free pages of the host, where it says so.
    pub fn free_pages(&self) -> Option<u64> {
        calls::physinfo(self.host().ok()?).ok().map(|info| info.free_pages)
    }

    /// From here on this is all that is free: the hypervisor's heap keeps what it once
    /// needed.
    pub fn rebase(&self) -> Option<u64> {
        self.expected.set(self.free_pages());
        self.expected.get()
    }

    /// Checks that the host has `before` free pages again.
    pub fn all_back(&self, before: Option<u64>) -> Check {
        let Some(before) = before else { return Ok(()) };
        let back = until(SETTLE_MS, || self.free_pages() == Some(before));
        let after = self.free_pages().unwrap_or(0);
        ensure!(
            back,
            "{} pages are missing: {before} before, {after} after",
            before.wrapping_sub(after) as i64
        );
        Ok(())
    }

    fn config<'a>(&self, shape: Shape, command_line: &'a str) -> Config<'a> {
        let kernel = self.boot.modules().next().map_or(&[][..], |module| module.bytes);
        Config { kernel, command_line, vcpus: shape.vcpus, ..Config::new(shape.mib) }
    }

    /// Creates a domain with `vcpus` vcpus and nothing else.
    ///
    /// # Errors
    ///
    /// As [`Self::spawn`].
    pub fn spawn_bare(&self, vcpus: u32) -> Check<Domain<'_>> {
        let window = self.window()?;
        let config = CreateDomain {
            flags: (CreateFlags::HVM | CreateFlags::HAP).bits(),
            max_vcpus: vcpus,
            max_evtchn_port: 1023,
            max_grant_frames: 4,
            max_maptrack_frames: 4,
            grant_opts: 1,
            arch: ArchDomainConfig { emulation_flags: Emulation::LAPIC.bits(), misc_flags: 0 },
            ..CreateDomain::new_zeroed()
        };
        let id = match calls::create(window.host(), &config) {
            Err(Error::Refused(_, Errno::ENOSYS)) => skip!("no domctl"),
            id => id?,
        };
        let domain = Domain { window, id, console: None, output: String::new() };
        calls::max_vcpus(window.host(), id, vcpus)?;
        Ok(domain)
    }

    /// Builds a domain of this kernel that runs the test `name`, in a role of it. It
    /// is paused, and destroyed when it is dropped.
    ///
    /// # Errors
    ///
    /// A SKIP where the hypervisor has no domctl, else a FAILURE.
    pub fn spawn(&self, name: &str, role: &str, shape: Shape) -> Check<Domain<'_>> {
        let window = self.window()?;
        let command_line = format!("test={name} role={role}");
        let built = match builder::build(window, &self.config(shape, &command_line)) {
            Err(Error::Refused("createdomain", Errno::ENOSYS)) => skip!("no domctl"),
            Err(Error::Image(error)) => return Err(Problem::Error(format!("Dom0's module: {error}"))),
            built => built?,
        };
        let console = Console::open(window, built.id, built.console);
        let mut domain = Domain { window, id: built.id, console: None, output: String::new() };
        domain.console = Some(console?);
        Ok(domain)
    }
}

/// Tries until `done`, for `ms` milliseconds, while others run; whether it was.
pub fn until(ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let start = clock::ticks_ns();
    while !done() {
        if clock::ticks_ns().wrapping_sub(start) > ms * 1_000_000 {
            return false;
        }
        hypercall::yield_now();
    }
    true
}

/// A domain of a test.
pub struct Domain<'a> {
    window: &'a Window<Kernel>,
    id: RawDomid,
    console: Option<Console<'a, Kernel>>,
    output: String,
}

impl Domain<'_> {
    /// Its number.
    pub fn id(&self) -> RawDomid {
        self.id
    }

    /// Lets it run.
    pub fn start(&self) -> Check {
        Ok(calls::unpause(self.window.host(), self.id)?)
    }

    /// What is known of it.
    pub fn info(&self) -> Check<GetDomainInfo> {
        let info = calls::info(self.window.host(), self.id)?;
        ensure_eq!(info.domain, self.id, "getdomaininfo of d{}", self.id);
        Ok(info)
    }

    /// The reason of its end, if it has ended.
    pub fn ended(&self) -> Check<Option<u32>> {
        let flags = self.info()?.flags;
        let shutdown = DomainFlags::from_bits_truncate(flags).contains(DomainFlags::SHUTDOWN);
        Ok(shutdown.then_some(flags >> SHUTDOWN_SHIFT & SHUTDOWN_MASK))
    }

    /// All that it has printed.
    pub fn output(&mut self) -> &str {
        if let Some(bytes) = self.console.as_mut().and_then(|console| console.take().ok()) {
            self.output += &String::from_utf8_lossy(&bytes);
        }
        &self.output
    }

    /// Waits for the domain's end; returns its reason.
    pub fn wait(&mut self, ms: u64) -> Check<u32> {
        let mut state = Ok(None);
        until(ms, || {
            self.output();
            state = self.ended();
            !matches!(state, Ok(None))
        });
        match state? {
            Some(reason) => Ok(reason),
            None => Err(Problem::Failure(format!("timeout after {ms} ms{}", self.last_words()))),
        }
    }

    /// Waits until it has printed `text`.
    pub fn wait_for(&mut self, text: &str, ms: u64) -> Check {
        let mut ended = false;
        let seen = until(ms, || {
            // In this order: what it wrote before its end is seen.
            ended = !matches!(self.ended(), Ok(None));
            self.output().contains(text) || ended
        });
        let words = self.last_words();
        ensure!(seen && self.output.contains(text), "no `{text}` from d{}{words}", self.id);
        Ok(())
    }

    /// The verdict that the domain, which has ended, printed.
    pub fn verdict(&mut self) -> Check {
        let ended = self.ended()?;
        self.output();
        for line in self.output.lines().filter(|line| line.starts_with("FIGURE ")) {
            println!("{line}");
        }
        let verdict = self.output.lines().find_map(|line| line.strip_prefix(VERDICT));
        match (verdict, ended) {
            (Some(line), _) => Problem::parse(line).map_or(Ok(()), Err),
            (None, Some(reason)) => {
                let reason = ShutdownReason::new(reason);
                Err(Problem::Crash(format!("shutdown {reason:?}{}", self.last_words())))
            }
            (None, None) => Err(Problem::Failure("no verdict".into())),
        }
    }

    /// The last line that it printed, to be appended to a reason.
    fn last_words(&mut self) -> String {
        self.output().lines().next_back().map_or(String::new(), |line| format!(", last: {line}"))
    }

    /// Ends it, whatever it does.
    pub fn destroy(self) -> Check {
        let (host, id) = (self.window.host(), self.id);
        drop(self);
        ensure!(!calls::exists(host, id), "d{id} is still there");
        Ok(())
    }
}

impl Drop for Domain<'_> {
    fn drop(&mut self) {
        self.console = None;
        if let Err(error) = calls::destroy(self.window.host(), self.id) {
            println!("d{}: {error}", self.id);
        }
    }
}
