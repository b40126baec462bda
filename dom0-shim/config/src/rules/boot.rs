//! What starts in the domain: its type, kernel, ramdisk and command line.

use alloc::format;
use alloc::string::String;

use super::reader::Reader;
use crate::source::Span;

const PV: &str =
    "PV guests cannot be run: they have no hardware of their own to lean on; Kigumi runs type = \"pvh\"";
const FIRMWARE: &str =
    "a domain without kernel= would boot from its disk by firmware and a device model, which Kigumi has not";

/// What starts.
#[derive(Default)]
pub struct Boot {
    pub kernel: String,
    pub ramdisk: Option<String>,
    pub command_line: String,
}

/// The types that a file can name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Pvh,
    Hvm,
    Pv,
}

pub fn boot(reader: &mut Reader<'_>) -> Boot {
    let kind = domain_type(reader);
    Boot {
        kernel: kernel(reader, kind),
        ramdisk: reader.text("ramdisk").map(|(text, _)| text).filter(|text| !text.is_empty()),
        command_line: command_line(reader),
    }
}

/// By `type=`, or by `builder=` as it was before Xen 4.10.
fn domain_type(reader: &mut Reader<'_>) -> Option<(Type, Span)> {
    let named = reader.text("type").and_then(|found| known(reader, "type", "pvh", found));
    let built = reader.text("builder").and_then(|found| known(reader, "builder", "hvm", found));
    if let (Some((one, _)), Some((two, span))) = (named, built)
        && one != two
    {
        reader.report.error(span, "`builder` and `type` contradict each other").help("leave `builder` out");
    }
    if let Some((Type::Pv, span)) = named.or(built) {
        reader.report.error(span, PV);
    } else if reader.is_missing("type") && reader.is_missing("builder") {
        let warning = reader.report.warning(None, "`type` is not set: the domain starts as \"pvh\"");
        warning.help("add a line: type = \"pvh\"");
    }
    named.or(built)
}

fn known(reader: &mut Reader<'_>, name: &str, usual: &str, found: (String, Span)) -> Option<(Type, Span)> {
    let (text, span) = found;
    let kind = match (name, text.as_str()) {
        ("type", "pvh") => Type::Pvh,
        (_, "hvm") => Type::Hvm,
        ("type", "pv") | ("builder", "generic" | "linux") => Type::Pv,
        _ => {
            reader.report.error(span, format!("expected \"{usual}\" for `{name}`, found \"{text}\""));
            return None;
        }
    };
    Some((kind, span))
}

fn kernel(reader: &mut Reader<'_>, kind: Option<(Type, Span)>) -> String {
    let kernel = reader.text("kernel").filter(|(text, _)| !text.is_empty());
    // What xend's files name is the old firmware.
    let kernel = kernel.filter(|(text, _)| text.rsplit('/').next() != Some("hvmloader"));
    match (&kernel, kind) {
        (Some(_), Some((Type::Hvm, span))) => {
            let warning = reader.report.warning(span, "the domain starts as \"pvh\": Kigumi emulates no PC");
            warning.help("write type = \"pvh\"");
        }
        (None, Some((Type::Hvm, span))) => {
            reader.report.error(span, FIRMWARE).help("name a PVH kernel: kernel = \"...\"");
        }
        (None, _) if !reader.settings.is_unreadable("kernel") => {
            let error = reader.report.error(None, "expected the domain's kernel, found none");
            error.help("add a line: kernel = \"...\"");
        }
        _ => {}
    }
    kernel.map(|(text, _)| text).unwrap_or_default()
}

/// `cmdline=`, else `root=` and `extra=`, put together as `xl` does.
fn command_line(reader: &mut Reader<'_>) -> String {
    let [line, root, extra] = ["cmdline", "root", "extra"].map(|name| reader.text(name));
    match (line, root, extra) {
        (Some((line, _)), root, extra) => {
            for (_, span) in root.into_iter().chain(extra) {
                reader.report.warning(span, "`root` and `extra` are ignored where `cmdline` is set");
            }
            line
        }
        (None, Some((root, _)), Some((extra, _))) => format!("root={root} {extra}"),
        (None, Some((root, _)), None) => format!("root={root}"),
        (None, None, extra) => extra.map(|(text, _)| text).unwrap_or_default(),
    }
}
