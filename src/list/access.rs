//! Why a node may not be opened by the one who looks, told from its owner and mode.

use super::Obstacle;
use super::host::Account;
use crate::trouble::Trouble;

/// The bits that let a group read and write.
const GROUP_READ_WRITE: u32 = 0o060;

/// What makes the group spi and gives it the nodes.
const RULE: &str = "install the udev rule 60-norfuse.rules, which gives nodes to the group spi";

/// Owner and mode of a node.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) gid: u32,
    pub(super) group: String,
    pub(super) mode: u32,
}

/// What `account`, which has been denied the node, can do about it.
pub(super) fn denied(owner: &Owner, account: &Account) -> Obstacle {
    let Owner { gid, group, mode } = owner;
    let name = &account.name;
    let obstacle =
        |reason: String, cure: &[&str]| Obstacle::new(Some(Trouble::PermissionDenied), reason, cure);
    if *gid == 0 || mode & GROUP_READ_WRITE != GROUP_READ_WRITE {
        let reason = format!("it is for its owner alone (group {group}, mode {:04o})", mode & 0o7777);
        return obstacle(
            reason,
            &[RULE, &format!("sudo groupadd -fr spi && {}", join("spi", name)), "reboot"],
        );
    }
    if account.groups.contains(gid) {
        return obstacle(format!("permission is denied although {name} is in its group {group}"), &[]);
    }
    if account.listed_groups.contains(gid) {
        let reason = format!("{name} is in its group {group}, but this session is older than that");
        return obstacle(reason, &["log in anew"]);
    }
    obstacle(
        format!("it is for the group {group}, and {name} is not in it"),
        &[&join(group, name), "log in anew"],
    )
}

fn join(group: &str, name: &str) -> String {
    format!("sudo usermod -aG {group} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(groups: &[u32], listed_groups: &[u32]) -> Account {
        Account {
            name: "pi".to_owned(),
            is_root: false,
            groups: groups.to_owned(),
            listed_groups: listed_groups.to_owned(),
        }
    }

    fn owner(gid: u32, group: &str, mode: u32) -> Owner {
        Owner { gid, group: group.to_owned(), mode }
    }

    #[test]
    fn who_is_not_in_the_group_is_told_how_to_get_in() {
        let denied = denied(&owner(989, "spi", 0o20660), &account(&[1000], &[1000]));
        assert_eq!(denied.cure, ["sudo usermod -aG spi pi", "log in anew"]);
        assert_eq!(denied.symptom, Some(Trouble::PermissionDenied));
        assert!(denied.reason.contains("group spi"), "{}", denied.reason);
    }

    #[test]
    fn who_is_in_the_group_since_a_moment_is_only_told_to_log_in_anew() {
        let denied = denied(&owner(989, "spi", 0o20660), &account(&[1000], &[1000, 989]));
        assert_eq!(denied.cure, ["log in anew"]);
    }

    #[test]
    fn nobody_is_told_to_join_the_group_of_root_or_one_that_may_not_write() {
        for owner in [owner(0, "root", 0o20660), owner(989, "spi", 0o20600), owner(989, "spi", 0o20640)] {
            let denied = denied(&owner, &account(&[1000], &[1000]));
            assert!(denied.cure[0].contains("60-norfuse.rules"), "{denied:?}");
            assert!(!denied.cure.iter().any(|step| step.contains("-aG root")), "{denied:?}");
        }
    }

    #[test]
    fn something_else_than_the_group_is_not_called_the_group() {
        let denied = denied(&owner(989, "spi", 0o20660), &account(&[1000, 989], &[1000, 989]));
        assert!(denied.cure.is_empty(), "{denied:?}");
    }
}
