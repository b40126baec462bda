//! The drivers on QEMU's devices: they run here, the devices there. QEMU does what is told by its test
//! protocol ("QTest Device Emulation Testing Framework" of its manual), a line for each access.
//!
//! Without QEMU on the machine nothing is tested, and each test says so.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use drivers::pci::{Address, functions};
use drivers::{Dma, Found, Interrupt, Machine, Nic, Registers, probe};
use futures_lite::future;
use storage::{Disk, Failure};

/// Where memory for DMA begins.
const MEMORY: u64 = 0x10_0000;
/// The pin that PCI interrupts are routed to.
const PCI_PIN: u32 = 11;
const DISK: usize = 4 << 20;
/// How long a machine may live.
const LIMIT: Duration = Duration::from_secs(120);

/// A machine without firmware.
struct Qemu {
    me: Weak<Qemu>,
    child: RefCell<Child>,
    input: RefCell<ChildStdin>,
    output: RefCell<BufReader<ChildStdout>>,
    lines: RefCell<BTreeSet<u32>>,
    /// Pins that have become active and were not told.
    edges: RefCell<BTreeSet<u32>>,
    allocated: Cell<u64>,
    start: Instant,
    /// Interrupts that drivers were told of.
    told: Cell<u32>,
    image: PathBuf,
    firmware: PathBuf,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        drop(child.kill());
        drop(child.wait());
        drop(fs::remove_file(&self.image));
        drop(fs::remove_file(&self.firmware));
    }
}

impl Qemu {
    /// Starts one with `devices`, and an image of [`DISK`] bytes for the drive `d`.
    fn start(name: &str, devices: &[&str]) -> Option<Rc<Self>> {
        let image = env::temp_dir().join(format!("drivers-{}-{name}", process::id()));
        fs::write(&image, vec![0; DISK]).unwrap();
        let drive = format!("if=none,id=d,format=raw,file={}", image.display());
        let firmware = image.with_extension("bios");
        fs::write(&firmware, firmware_that_halts()).unwrap();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-display", "none", "-machine", "pc,accel=tcg", "-m", "64", "-bios"]);
        qemu.arg(&firmware).args(["-qtest", "stdio", "-qtest-log", "none"]);
        qemu.args(["-drive", &drive, "-netdev", "user,id=n"]).args(devices);
        let started = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut child) = started else {
            eprintln!("SKIP: there is no qemu-system-x86_64");
            return None;
        };
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let qemu = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            child: child.into(),
            input: input.into(),
            output: BufReader::new(output).into(),
            lines: RefCell::default(),
            edges: RefCell::default(),
            allocated: Cell::new(MEMORY),
            start: Instant::now(),
            told: Cell::new(0),
            image,
            firmware,
        });
        qemu.ask("irq_intercept_in ioapic");
        qemu.be_firmware();
        Some(qemu)
    }

    /// Gives all functions addresses and interrupts.
    fn be_firmware(&self) {
        const ROUTES: u8 = 0x60;
        let (mut port, mut place) = (0xc000_u32, 0xe000_0000_u32);
        let bridge = Address { bus: 0, device: 1, function: 0 };
        bridge.write(self, ROUTES, 4, PCI_PIN * 0x0101_0101);
        for function in functions(self) {
            let address = function.address;
            let mut slots = 0..6;
            while let Some(slot) = slots.next() {
                let at = 0x10 + 4 * slot;
                address.write(self, at, 4, u32::MAX);
                let mask = address.read(self, at, 4);
                if mask & 1 != 0 {
                    address.write(self, at, 4, port);
                    port += 0x100;
                } else if mask != 0 {
                    let bytes = 1 << (mask & !15).trailing_zeros();
                    place = place.next_multiple_of(bytes);
                    address.write(self, at, 4, place);
                    place += bytes;
                    if mask & 4 != 0 {
                        slots.next();
                        address.write(self, at + 4, 4, 0);
                    }
                }
            }
            address.write(self, 0x3c, 1, PCI_PIN);
        }
    }

    fn ask(&self, line: &str) -> String {
        writeln!(self.input.borrow_mut(), "{line}").unwrap();
        loop {
            let mut answer = String::new();
            let bytes = self.output.borrow_mut().read_line(&mut answer).unwrap();
            assert_ne!(bytes, 0, "QEMU has ended at {line}");
            let answer = answer.trim();
            match answer.strip_prefix("IRQ ") {
                Some(what) => self.interrupt_changed(what),
                None => {
                    return answer
                        .strip_prefix("OK")
                        .unwrap_or_else(|| panic!("{line}: {answer}"))
                        .trim()
                        .into();
                }
            }
        }
    }

    fn interrupt_changed(&self, what: &str) {
        let (change, pin) = what.split_once(' ').unwrap();
        let pin = pin.parse().unwrap();
        if change == "lower" {
            self.lines.borrow_mut().remove(&pin);
        } else if self.lines.borrow_mut().insert(pin) {
            self.edges.borrow_mut().insert(pin);
        }
    }

    fn number(&self, line: &str) -> u32 {
        let answer = self.ask(line);
        let value = u64::from_str_radix(answer.trim_start_matches("0x"), 16).unwrap();
        u32::try_from(value & 0xffff_ffff).unwrap()
    }

    /// Runs a task to its end; time passes while it waits.
    fn run<T>(&self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        while self.start.elapsed() < LIMIT {
            if let Poll::Ready(output) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
            thread::sleep(Duration::from_micros(50));
            // Interrupts come before an answer.
            self.ask("inb 0x61");
        }
        panic!("the task never ends");
    }

    fn probe(self: &Rc<Self>) -> Found<Self> {
        let found = self.run(probe(self));
        assert_eq!(found.problems, Vec::<String>::new());
        found
    }
}

/// The CPU executes nothing but this.
fn firmware_that_halts() -> Vec<u8> {
    const RESET_VECTOR: usize = 0xfff0;
    const CLI_HLT_JMP: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfd];
    let mut image = vec![0; 0x1_0000];
    image[RESET_VECTOR..RESET_VECTOR + 4].copy_from_slice(&CLI_HLT_JMP);
    image
}

fn width(bytes: u8) -> char {
    match bytes {
        1 => 'b',
        2 => 'w',
        _ => 'l',
    }
}

impl Machine for Qemu {
    type Registers = QemuRegisters;
    type Dma = QemuDma;
    type Interrupt = QemuInterrupt;

    fn read_port(&self, port: u16, bytes: u8) -> u32 {
        self.number(&format!("in{} {port:#x}", width(bytes)))
    }

    fn write_port(&self, port: u16, bytes: u8, value: u32) {
        self.ask(&format!("out{} {port:#x} {value:#x}", width(bytes)));
    }

    fn registers(&self, address: u64, _: usize) -> Result<QemuRegisters, String> {
        Ok(QemuRegisters(self.me.upgrade().unwrap(), address))
    }

    fn dma(&self, bytes: usize, align: usize) -> Result<QemuDma, String> {
        let address = self.allocated.get().next_multiple_of(align as u64);
        self.allocated.set(address + bytes as u64);
        Ok(QemuDma(self.me.upgrade().unwrap(), address, bytes))
    }

    fn interrupt(&self, gsi: u32, level: bool) -> Result<QemuInterrupt, String> {
        Ok(QemuInterrupt(self.me.upgrade().unwrap(), gsi, level))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    async fn sleep_ns(&self, ns: u64) {
        let deadline = self.now_ns() + ns;
        poll_fn(|_| if self.now_ns() >= deadline { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

struct QemuRegisters(Rc<Qemu>, u64);

impl Registers for QemuRegisters {
    fn read(&self, offset: usize, bytes: u8) -> u32 {
        self.0.number(&format!("read{} {:#x}", width(bytes), self.1 + offset as u64))
    }

    fn write(&self, offset: usize, bytes: u8, value: u32) {
        self.0.ask(&format!("write{} {:#x} {value:#x}", width(bytes), self.1 + offset as u64));
    }
}

struct QemuDma(Rc<Qemu>, u64, usize);

impl Dma for QemuDma {
    fn address(&self) -> u64 {
        self.1
    }

    fn len(&self) -> usize {
        self.2
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        assert!(offset + to.len() <= self.2);
        if to.is_empty() {
            return;
        }
        let hex = self.0.ask(&format!("read {:#x} {:#x}", self.1 + offset as u64, to.len()));
        for (byte, digits) in to.iter_mut().zip(hex.trim_start_matches("0x").as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= self.2);
        if from.is_empty() {
            return;
        }
        let mut line = format!("write {:#x} {:#x} 0x", self.1 + offset as u64, from.len());
        from.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
        self.0.ask(&line);
    }
}

struct QemuInterrupt(Rc<Qemu>, u32, bool);

impl Interrupt for QemuInterrupt {
    async fn raised(&self) {
        let Self(qemu, pin, level) = self;
        let has_come =
            || if *level { qemu.lines.borrow().contains(pin) } else { qemu.edges.borrow_mut().remove(pin) };
        poll_fn(|_| if has_come() { Poll::Ready(()) } else { Poll::Pending }).await;
        qemu.told.set(qemu.told.get() + 1);
    }

    fn done(&self) {}
}

/// Runs `work` while the devices are served.
async fn served<T>(found: &mut Found<Qemu>, work: impl Future<Output = T>) -> T {
    let tasks = &mut found.tasks;
    let serve = poll_fn(|context| {
        tasks.iter_mut().for_each(|task| assert!(task.as_mut().poll(context).is_pending()));
        Poll::Pending
    });
    future::or(work, serve).await
}

/// Writes and reads a disk, and looks at its image.
fn test_disk(name: &str, devices: &[&str], called: &str) {
    let Some(qemu) = Qemu::start(name, devices) else { return };
    let mut found = qemu.probe();
    let (name, disk) = found.disks.pop().expect("a disk");
    assert_eq!(name, called);
    assert_eq!(disk.properties().sectors, (DISK / 512) as u64);
    let written: Vec<u8> = (0..600 * 512_u32).map(|i| (i * 7 % 251).to_le_bytes()[0]).collect();
    let mut read = vec![0; written.len()];
    qemu.run(served(&mut found, async {
        disk.write(11, &written).await.unwrap();
        disk.flush().await.unwrap();
        disk.read(11, &mut read).await.unwrap();
        let beyond = disk.read(disk.properties().sectors, &mut [0; 512]).await;
        assert_eq!(beyond, Err(Failure::OutOfRange));
    }));
    // There is an interrupt for each of three or more writes, a flush, as many reads.
    assert!(qemu.told.get() >= 7, "{} interrupts", qemu.told.get());
    assert_eq!(read, written);
    let image = fs::read(&qemu.image).unwrap();
    assert_eq!(&image[11 * 512..][..written.len()], written);
}

/// Asks the emulated network's router for its address, more often than the rings are long.
fn test_card(name: &str, devices: &[&str]) {
    const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let Some(qemu) = Qemu::start(name, devices) else { return };
    let mut found = qemu.probe();
    let (name, card) = found.nics.pop().expect("a card");
    assert_eq!((&name[..], card.address()), ("eth0", ADDRESS));
    let request = [
        &[0xff; 6][..],
        &ADDRESS,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &ADDRESS,
        &[10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2],
    ]
    .concat();
    qemu.run(served(&mut found, async {
        // Autonegotiation takes its time.
        while !card.is_up() {
            qemu.sleep_ns(1_000_000).await;
        }
        for _ in 0..300 {
            card.send(&request).await;
            let answer = card.receive().await;
            assert_eq!(answer[..6], ADDRESS);
            assert_eq!(answer[20..22], [0, 2]);
            assert_eq!(answer[28..32], [10, 0, 2, 2]);
        }
        card.send(&[0xff; 1519]).await;
    }));
}

#[test]
fn ide() {
    test_disk("ide", &["-device", "ide-hd,drive=d,bus=ide.1,unit=0"], "hdc");
}

#[test]
fn ahci() {
    test_disk("ahci", &["-device", "ahci,id=a", "-device", "ide-hd,drive=d,bus=a.3"], "sda");
}

/// Errors of the medium, and a CD-ROM beside.
#[test]
fn ahci_with_errors() {
    let image = env::temp_dir().join(format!("drivers-{}-e", process::id()));
    fs::write(&image, [7; 1 << 20]).unwrap();
    let drive = format!(
        "if=none,id=e,format=raw,rerror=report,werror=report,file.driver=blkdebug,\
         file.image.driver=file,file.image.filename={},\
         file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.sector=9,\
         file.inject-error.1.event=flush_to_disk,file.inject-error.1.errno=5,file.inject-error.1.once=on",
        image.display()
    );
    let devices = ["-device", "ahci,id=a", "-device", "ide-cd,bus=a.0", "-device", "ide-hd,drive=e,bus=a.1"];
    let qemu = Qemu::start("ahci-errors", &[&devices[..], &["-drive", &drive]].concat());
    if let Some(qemu) = qemu {
        let mut found = qemu.run(probe(&qemu));
        let words = "AHCI 00:02.0 [8086:2922]: port 0: \
                     a CD-ROM, or another drive that takes packets: it is not driven";
        assert_eq!(found.problems, [words]);
        let (name, disk) = found.disks.pop().expect("a disk");
        assert_eq!(name, "sda");
        let mut bytes = [0; 512];
        qemu.run(served(&mut found, async {
            for _ in 0..2 {
                let failure = disk.read(9, &mut bytes).await.unwrap_err();
                assert!(failure.to_string().starts_with("sector 9: "), "{failure}");
                disk.read(8, &mut bytes).await.unwrap();
            }
            disk.write(8, &[9; 512]).await.unwrap();
            let failure = disk.flush().await.unwrap_err().to_string();
            assert!(failure.starts_with("its cache is not on the medium: "), "{failure}");
            disk.flush().await.unwrap();
        }));
        assert_eq!(bytes, [7; 512]);
        assert_eq!(fs::read(&image).unwrap()[8 * 512..9 * 512], [9; 512]);
    }
    fs::remove_file(image).unwrap();
}

#[test]
fn virtio_block() {
    test_disk("virtio", &["-device", "virtio-blk-pci,drive=d"], "vda");
}

#[test]
fn virtio_block_without_legacy_interface() {
    test_disk("modern", &["-device", "virtio-blk-pci,drive=d,disable-legacy=on"], "vda");
}

#[test]
fn virtio_block_with_legacy_interface_only() {
    let device = ["-device", "virtio-blk-pci,drive=d,disable-modern=on,disable-legacy=off"];
    let Some(qemu) = Qemu::start("legacy", &device) else { return };
    let found = qemu.run(probe(&qemu));
    assert!(found.disks.is_empty());
    assert_eq!(found.problems, ["virtio disk 00:02.0 [1af4:1001]: it has the legacy interface only"]);
}

#[test]
fn virtio_block_that_can_only_be_read() {
    let image = env::temp_dir().join(format!("drivers-{}-r", process::id()));
    fs::write(&image, [7; 4096]).unwrap();
    let drive = format!("if=none,id=r,format=raw,readonly=on,file={}", image.display());
    let qemu = Qemu::start("read-only", &["-device", "virtio-blk-pci,drive=r", "-drive", &drive]);
    if let Some(qemu) = qemu {
        let mut found = qemu.probe();
        let (_, disk) = found.disks.pop().expect("a disk");
        assert!(disk.properties().read_only);
        let mut bytes = [0; 512];
        qemu.run(served(&mut found, async {
            disk.read(7, &mut bytes).await.unwrap();
            assert_eq!(disk.write(7, &[0; 512]).await, Err(Failure::ReadOnly));
        }));
        assert_eq!(bytes, [7; 512]);
    }
    fs::remove_file(image).unwrap();
}

#[test]
fn e1000() {
    test_card("e1000", &["-device", "e1000,netdev=n,mac=52:54:00:12:34:56"]);
}

#[test]
fn e1000_of_the_other_numbers() {
    test_card("82545em", &["-device", "e1000-82545em,netdev=n,mac=52:54:00:12:34:56"]);
    test_card("82574l", &["-device", "e1000e,netdev=n,mac=52:54:00:12:34:56"]);
}

#[test]
fn virtio_net() {
    test_card("virtio-net", &["-device", "virtio-net-pci,netdev=n,mac=52:54:00:12:34:56"]);
}
