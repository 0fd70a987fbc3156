//! The table: rows are run as tests, and printed with their results.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use libtest_mimic::{Failed, Trial};

use super::row::Row;

/// The rows that have been run.
#[derive(Clone, Default)]
pub(crate) struct Table {
    results: Arc<Mutex<BTreeMap<usize, Line>>>,
}

struct Line {
    tool: &'static str,
    done: &'static str,
    result: Result<String, String>,
}

thread_local! {
    /// Where this thread has panicked last.
    static PLACE: RefCell<String> = RefCell::default();
}

/// An empty table, and a test for each row that enters its result there.
pub(crate) fn of(rows: Vec<Row>) -> (Table, Vec<Trial>) {
    // The harness prints what has failed, with the row's name.
    panic::set_hook(Box::new(|info| {
        PLACE.set(info.location().map(ToString::to_string).unwrap_or_default());
    }));
    let table = Table::default();
    let mut names = BTreeSet::new();
    let trials = rows.into_iter().enumerate().map(|(number, row)| {
        let name = format!("{}: {}", row.tool, row.done);
        assert!(names.insert(name.clone()), "two rows are named {name:?}");
        let table = table.clone();
        Trial::test(name, move || table.enter(number, &row))
    });
    let trials = trials.collect();
    (table, trials)
}

impl Table {
    fn enter(&self, number: usize, row: &Row) -> Result<(), Failed> {
        let result = catch_unwind(AssertUnwindSafe(|| row.result())).map_err(|panic| message(&*panic));
        let outcome = result.as_ref().map(|_| ()).map_err(Failed::from);
        let line = Line { tool: row.tool, done: row.done, result };
        self.results.lock().expect("nothing panics with the lock held").insert(number, line);
        outcome
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("{text}\nat {}", PLACE.take())
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(result) => f.write_str(result),
            Err(message) => {
                let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                write!(f, "FAILED: {first}")
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.results.lock().expect("nothing panics with the lock held");
        if results.is_empty() {
            return Ok(());
        }
        let width = |column: fn(&Line) -> &str, title: &str| {
            results.values().map(|line| column(line).chars().count()).max().unwrap_or(0).max(title.len())
        };
        let tools = width(|line| line.tool, "tool");
        let deeds = width(|line| line.done, "what was done");
        writeln!(f, "   {:tools$} | {:deeds$} | result", "tool", "what was done")?;
        writeln!(f, "   {:-<tools$}-+-{:-<deeds$}-+-{:-<40}", "", "", "")?;
        for line in results.values() {
            let mark = if line.result.is_ok() { "  " } else { "!!" };
            writeln!(f, "{mark} {:tools$} | {:deeds$} | {line}", line.tool, line.done)?;
        }
        let failed = results.values().filter(|line| line.result.is_err()).count();
        writeln!(f, "\nrows: {}, failing: {failed}", results.len())
    }
}
