//! Files of the store.

use alloc::format;
use alloc::string::String;

use crate::args::Args;
use crate::context::Context;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::Toolstack;

/// `ls`.
pub(super) fn ls<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>) -> Outcome {
    for (name, size) in cx.tools.files() {
        cx.say(format_args!("{size:>12} {name}"));
    }
    Ok(())
}

/// `cat`. A terminal takes bytes that are no text as orders, so these are not shown.
pub(super) fn cat<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let name = args.get(0);
    let bytes = cx.tools.read_file(name)?;
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let text = String::from_utf8(bytes).ok().filter(|text| text.chars().all(is_text));
    let text = text.ok_or_else(|| Problem::Failed(format!("{name} is no text: it is not shown")))?;
    cx.show(&text.replace("\r\n", "\n"));
    if !text.is_empty() && !text.ends_with('\n') {
        cx.show("\n");
    }
    Ok(())
}
