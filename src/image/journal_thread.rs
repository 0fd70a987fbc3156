//! The thread that keeps the journal, so that the bus need not be idle while the host's disk is written.
//!
//! It does one thing after the other, in the order in which it was asked. Not for what is in a record's place: that is in [`super::recovery`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::draft::Draft;
use super::error::Error;
use super::journal::{Fingerprint, Journal, NewRecord, Slot};

pub(super) struct JournalThread {
    /// None once the thread is to end.
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Begin {
        drafts: Vec<Arc<Draft>>,
        fingerprints: Vec<Fingerprint>,
        begun: Sender<Result<(), Error>>,
    },
    Finish {
        /// Addresses in bytes.
        regions: Vec<u32>,
        finished: Sender<()>,
    },
}

/// Records on their way to the host's disk.
pub(super) struct Begun(Option<Receiver<Result<(), Error>>>);

impl Begun {
    /// Of what needs no record.
    pub(super) const AT_ONCE: Self = Self(None);

    /// Waits until the records survive a power cut. Nothing may be done to the chip before.
    pub(super) fn wait(self) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(begun) => begun.recv().unwrap_or(Err(Error::Stopped)),
        }
    }
}

impl JournalThread {
    pub(super) fn start(journal: Journal) -> Result<Self, Error> {
        let (requests, received) = channel();
        let serve = move || serve(journal, &received);
        let thread =
            std::thread::Builder::new().name("journal".to_owned()).spawn(serve).map_err(|source| {
                Error::System { operation: "start the journal's thread", source: Arc::new(source) }
            })?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Has one record for each draft written.
    pub(super) fn begin(&self, drafts: Vec<Arc<Draft>>, fingerprints: Vec<Fingerprint>) -> Begun {
        let (begun, receiver) = channel();
        self.ask(Request::Begin { drafts, fingerprints, begun });
        Begun(Some(receiver))
    }

    /// Removes the records of the regions at these addresses, and waits until they are gone for good.
    pub(super) fn finish(&self, regions: Vec<u32>) {
        let (finished, receiver) = channel();
        self.ask(Request::Finish { regions, finished });
        // If the thread has ended, its records are there at the next mount, which will find nothing to do for them.
        let _ = receiver.recv();
    }

    fn ask(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // Whoever waits for an answer finds out that there is nobody to give one.
            let _ = requests.send(request);
        }
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        drop(self.requests.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the journal's thread failed");
        }
    }
}

fn serve(mut journal: Journal, requests: &Receiver<Request>) {
    for request in requests {
        match request {
            Request::Begin { drafts, fingerprints, begun } => {
                // Nobody waits for it any more if the image has been stopped.
                let _ = begun.send(begin(&mut journal, &drafts, &fingerprints));
            }
            Request::Finish { regions, finished } => {
                finish(&mut journal, &regions);
                let _ = finished.send(());
            }
        }
    }
}

fn begin(journal: &mut Journal, drafts: &[Arc<Draft>], fingerprints: &[Fingerprint]) -> Result<(), Error> {
    let records: Vec<NewRecord<'_>> = drafts
        .iter()
        .map(|draft| NewRecord {
            ranges: draft
                .touched_ranges()
                .into_iter()
                .map(|range| (range.start, draft.wanted(&range)))
                .collect(),
            fingerprints: fingerprints.to_vec(),
        })
        .collect();
    journal.begin(&records).map(drop).map_err(|source| Error::Journal { source: Arc::new(source) })
}

fn finish(journal: &mut Journal, regions: &[u32]) {
    let slots: Vec<Slot> = regions.iter().filter_map(|&region| journal.live_in(region)).collect();
    if slots.is_empty() {
        return;
    }
    if let Err(error) = journal.retire(&slots) {
        // The next mount will find nothing to do for them.
        log::warn!("{}", crate::error_text(&error));
    }
}
