//! Editors of text and of binary files that look like text, and patch(1).

use super::firmware::{BINARY_AT, COMMAND, LINE_LEN, TEXT_AT, text};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};
use crate::common::SECTOR_LEN;

/// Of the same length as the command that is replaced.
const OTHER_COMMAND: &[u8] = b"/usr/sbin/rmdird! -l /bin/sh\n";

pub(super) fn rows() -> Vec<Row> {
    assert_eq!(OTHER_COMMAND.len(), COMMAND.len());
    let mut rows = stream_editor_rows();
    rows.extend(vim_rows());
    rows.extend(editor_rows());
    rows.extend(patch_rows());
    rows
}

/// Runs a script that replaces `telnetd` in the binary sector by `rmdird!`.
#[track_caller]
fn replaces_command(bench: &FirmwareBench, script: &str) -> String {
    bench.sh(script).ok();
    bench.changed(&[(BINARY_AT, OTHER_COMMAND)])
}

/// Checks that the text sector's old content is in the backup `name`, removes that, and checks the changes on the chip.
#[track_caller]
fn has_backup(bench: &FirmwareBench, name: &str, changes: &[(usize, &[u8])]) -> String {
    bench.sh(&format!("cp m/sectors/{name} copy && rm m/sectors/{name}")).ok();
    bench.assert_file("copy", text().as_bytes());
    bench.changed(changes)
}

/// The change of the text sector's second line that its editors make.
const SECOND_LINE: (usize, &[u8]) = (TEXT_AT + LINE_LEN, b"name001=VALUE01\n");

fn stream_editor_rows() -> Vec<Row> {
    vec![
        row("sed -i", "the same length", |bench| {
            replaces_command(bench, "sed -i 's/telnetd/rmdird!/' m/sectors/00a000.bin")
        }),
        row("sed -i", "the same length, without privileges", |bench| {
            replaces_command(bench, "sed -i 's/telnetd/rmdird!/' m/sectors/00a000.bin")
        })
        .without_privileges(),
        row("sed -i", "shorter", |bench| {
            bench.refuses(
                "sed -i s/telnetd/rm/ m/sectors/00a000.bin",
                4,
                "sed: cannot rename m/sectors/sed*: Invalid argument",
            )
        }),
        row("sed -i", "longer", |bench| {
            bench.refuses(
                "sed -i s/telnetd/telnetd.old/ m/sectors/00a000.bin",
                4,
                "sed: cannot rename m/sectors/sed*: Invalid argument",
            )
        }),
        row("sed -i", "two sectors at once", |bench| {
            bench.sh("sed -i '2s/value/VALUE/;s/telnetd/rmdird!/' m/sectors/00[ab]000.bin").ok();
            bench.changed(&[(BINARY_AT, OTHER_COMMAND), SECOND_LINE])
        }),
        row("sed -i.orig", "with a backup", |bench| {
            bench.sh("sed -i.orig '2s/value/VALUE/' m/sectors/00b000.bin").ok();
            has_backup(bench, "00b000.bin.orig", &[SECOND_LINE])
        }),
        row("perl -pi", "the same length", |bench| {
            replaces_command(bench, "perl -pi -e 's/telnetd/rmdird!/' m/sectors/00a000.bin")
        }),
        row("perl -pi", "all of raw.bin", |bench| {
            replaces_command(bench, r"perl -pi -e 's|/telnetd -l|/rmdird! -l|' m/raw.bin")
        }),
        row("perl -pi", "shorter", |bench| {
            bench.refuses(
                "perl -pi -e 's/telnetd/rm/' m/sectors/00a000.bin",
                22,
                "Cannot complete in-place edit of m/sectors/00a000.bin: failed to rename work file 'm/sectors/XX*' to \
                 'm/sectors/00a000.bin': Invalid argument, <> line 19.",
            )
        }),
        row("ed", "the same length", |bench| {
            bench.sh("printf '%s\\n' 2s/value/VALUE/ w q | ed -s m/sectors/00b000.bin").ok();
            bench.changed(&[SECOND_LINE])
        }),
    ]
}

/// Vim and emacs make no backups of what is below /tmp, as the mounts here are.
const VIM_AS_ELSEWHERE: &str = "vim -es --cmd 'set backupskip='";
const EMACS_AS_ELSEWHERE: &str = "emacs --batch --eval '(setq backup-enable-predicate (lambda (name) t))'";

fn vim_rows() -> Vec<Row> {
    vec![
        row("vim -es", "the same length", |bench| {
            replaces_command(bench, "vim -es -c '%s/telnetd/rmdird!/' -c wq m/sectors/00a000.bin")
        }),
        row("vim -es", "the same length, with writebackup", |bench| {
            let edit = "-c '%s/telnetd/rmdird!/' -c wq m/sectors/00a000.bin";
            replaces_command(bench, &format!("{VIM_AS_ELSEWHERE} {edit}"))
        }),
        row("vim -es", "backupcopy=yes", |bench| {
            let edit = "-c 'set backupcopy=yes' -c '%s/telnetd/rmdird!/' -c wq m/sectors/00a000.bin";
            replaces_command(bench, &format!("{VIM_AS_ELSEWHERE} {edit}"))
        }),
        row("vim -es", "backupcopy=no", |bench| {
            let edit = "-c 'set backupcopy=no' -c '%s/telnetd/rmdird!/' -c wq m/sectors/00a000.bin";
            replaces_command(bench, &format!("{VIM_AS_ELSEWHERE} {edit}"))
        }),
        row("vim -es", "backupcopy=no backup", |bench| {
            let edit = "-c 'set backupcopy=no backup' -c '2s/value/VALUE/' -c wq m/sectors/00b000.bin";
            bench.sh(&format!("{VIM_AS_ELSEWHERE} {edit}")).ok();
            has_backup(bench, "00b000.bin~", &[SECOND_LINE])
        }),
        row("vim -es", "backupcopy=yes backup", |bench| {
            let edit = "-c 'set backupcopy=yes backup' -c '2s/value/VALUE/' -c wq m/sectors/00b000.bin";
            bench.sh(&format!("{VIM_AS_ELSEWHERE} {edit}")).ok();
            has_backup(bench, "00b000.bin~", &[SECOND_LINE])
        }),
        row("vim", "default settings, in a terminal", |bench| {
            bench
                .in_terminal(
                    r#"
                    spawn vim m/sectors/00b000.bin
                    must "name000=value00"
                    send ":2s/value/VALUE/\r:wq\r"
                    must "256L, 4096B written"
                    "#,
                )
                .ok();
            bench.changed(&[SECOND_LINE])
        }),
        row("vim -es", "the same length, without privileges", |bench| {
            let edit = "-c '%s/telnetd/rmdird!/' -c wq m/sectors/00a000.bin";
            replaces_command(bench, &format!("{VIM_AS_ELSEWHERE} {edit}"))
        })
        .without_privileges(),
        row("view", "reads", |bench| {
            bench.prints("view -es -c '1p' -c q! m/sectors/00b000.bin", "name000=value00\n")
        }),
    ]
}

fn editor_rows() -> Vec<Row> {
    vec![
        row("nano", "in a terminal", |bench| {
            bench
                .in_terminal(
                    r#"
                    spawn nano m/sectors/00b000.bin
                    must "name000=value00"
                    # Down; delete, and insert, eight characters to the right.
                    send "\033\[B[string repeat "\033\[C" 8]\004\004\004\004\004VALUE\017"
                    must "File Name to Write"
                    send "\r"
                    must "Wrote 256 lines"
                    send "\030"
                    "#,
                )
                .ok();
            bench.changed(&[SECOND_LINE])
        }),
        row("nano -B", "with a backup, in a terminal", |bench| {
            bench
                .in_terminal(
                    r#"
                    spawn nano -B m/sectors/00b000.bin
                    must "name000=value00"
                    send "\033\[B[string repeat "\033\[C" 8]\004\004\004\004\004VALUE\017"
                    must "File Name to Write"
                    send "\r"
                    must "Wrote 256 lines"
                    send "\030"
                    "#,
                )
                .ok();
            has_backup(bench, "00b000.bin~", &[SECOND_LINE])
        }),
        row("emacs --batch", "the same length, with a backup", |bench| {
            let edit = r#"(progn (search-forward "value01") (replace-match "VALUE01" t) (save-buffer))"#;
            bench.sh(&format!("{EMACS_AS_ELSEWHERE} m/sectors/00b000.bin --eval '{edit}'")).ok();
            has_backup(bench, "00b000.bin~", &[SECOND_LINE])
        }),
        row("emacs --batch", "a binary sector, with a temporary file", |bench| {
            let settings = "(setq file-precious-flag t make-backup-files nil)";
            let edit = r#"(progn (find-file-literally "m/sectors/00a000.bin") (search-forward "telnetd")
                (replace-match "rmdird!" t) (save-buffer))"#;
            bench.sh(&format!("emacs --batch --eval '{settings}' --eval '{edit}'")).ok();
            bench.changed(&[(BINARY_AT, OTHER_COMMAND)])
        }),
    ]
}

fn patch_rows() -> Vec<Row> {
    vec![
        row("patch", "the same length", |bench| {
            bench
                .sh("cp m/sectors/00b000.bin old && sed 2s/value/VALUE/ old > new; ! diff -u old new > diff")
                .ok();
            bench.sh("patch m/sectors/00b000.bin diff").ok();
            bench.changed(&[SECOND_LINE])
        }),
        row("patch -b", "with a backup", |bench| {
            bench
                .sh("cp m/sectors/00b000.bin old && sed 2s/value/VALUE/ old > new; ! diff -u old new > diff")
                .ok();
            bench.sh("patch -b m/sectors/00b000.bin diff").ok();
            has_backup(bench, "00b000.bin.orig", &[SECOND_LINE])
        }),
        row("patch", "shorter", |bench| {
            bench.sh("cp m/sectors/00b000.bin old && sed 2d old > new; ! diff -u old new > diff").ok();
            assert_eq!(bench.read("new").len(), SECTOR_LEN - LINE_LEN);
            let message = "patch: **** Can't rename file m/sectors/00b000.bin* to m/sectors/00b000.bin : Invalid argument";
            bench.refuses("patch m/sectors/00b000.bin diff", 2, message)
        }),
    ]
}
