//! Telling the kernel to drop its copies of bytes that were written under another name.
//!
//! This has a thread of its own. Dropping a page waits for whoever has it locked, which can be a reader whose request one of
//! the FUSE threads must answer first: on one of those it would wait for itself, where not even SIGKILL helps.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

/// What the kernel may keep of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KernelCopy {
    /// Some of its bytes, and its attributes.
    Pages { inode: INodeNo, offset: u32, len: u32 },
    /// Its attributes.
    Attributes { inode: INodeNo },
}

impl KernelCopy {
    pub(super) fn inode(&self) -> INodeNo {
        match *self {
            Self::Pages { inode, .. } | Self::Attributes { inode } => inode,
        }
    }

    pub(super) fn has_pages(&self) -> bool {
        matches!(self, Self::Pages { .. })
    }

    /// As the kernel takes it: a negative offset stands for no pages.
    fn range(&self) -> (i64, i64) {
        match *self {
            Self::Pages { offset, len, .. } => (i64::from(offset), i64::from(len)),
            Self::Attributes { .. } => (-1, 0),
        }
    }
}

/// Whatever is to be done once the kernel's copies are gone.
pub(super) type Then = Box<dyn FnOnce() + Send>;

struct Job {
    copies: Vec<KernelCopy>,
    then: Then,
}

/// Where requests are left for the thread.
#[derive(Clone)]
pub(super) struct Invalidator {
    jobs: Arc<Mutex<Sender<Job>>>,
}

/// What the thread will work on once there is a mount to notify.
pub struct Invalidations {
    jobs: Receiver<Job>,
}

pub(super) fn invalidator() -> (Invalidator, Invalidations) {
    let (sender, receiver) = channel();
    (Invalidator { jobs: Arc::new(Mutex::new(sender)) }, Invalidations { jobs: receiver })
}

impl Invalidator {
    /// Has the kernel drop `copies`, and calls `then`.
    pub(super) fn drop_copies(&self, copies: Vec<KernelCopy>, then: Then) {
        if copies.is_empty() {
            return then();
        }
        self.send(Job { copies, then });
    }

    /// Answers a caller, who may be holding locked what is to be dropped, and has the kernel drop `copies` after that.
    pub(super) fn drop_copies_after(&self, answer: impl FnOnce(), copies: Vec<KernelCopy>, then: Then) {
        // With the queue locked: whoever asks, because of that answer, for everything to be settled comes behind this.
        let jobs = self.jobs.lock();
        answer();
        send(&jobs, Job { copies, then });
    }

    /// Calls `then` when everything is gone that was to be dropped until now.
    pub(super) fn settle(&self, then: Then) {
        self.send(Job { copies: Vec::new(), then });
    }

    fn send(&self, job: Job) {
        send(&self.jobs.lock(), job);
    }
}

fn send(jobs: &Sender<Job>, job: Job) {
    if let Err(unsent) = jobs.send(job) {
        (unsent.0.then)();
    }
}

impl Invalidations {
    /// Starts the thread; it ends with the file system.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, notifier: Notifier) -> io::Result<()> {
        std::thread::Builder::new().name("invalidate".to_owned()).spawn(move || {
            for job in self.jobs {
                for copy in job.copies {
                    let (offset, len) = copy.range();
                    if let Err(error) = notifier.inval_inode(copy.inode(), offset, len) {
                        log::debug!("the kernel keeps its copy of inode {}: {error}", copy.inode());
                    }
                }
                (job.then)();
            }
        })?;
        Ok(())
    }
}
