//! `user` and `group`: who the process is once its addresses are bound.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group`; whoever only a directory service knows is written as a number.

use std::collections::BTreeSet;

use super::form::{Form, Unfit};
use super::problem::{Fault, Placed, Problem};

/// Who the process becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserConfig {
    /// As it was typed.
    pub name: String,
    /// Its number; never 0.
    pub uid: u32,
    /// Its group; never 0.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

pub(super) static USER: Form<String> = Form { expected: "the name or number of a user", read: name };
pub(super) static GROUP: Form<String> = Form { expected: "the name or number of a group", read: name };

/// What useradd(8) takes, and a little more.
fn name(text: &str) -> Result<String, Unfit> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
    let fits = (1..=32).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(letter);
    if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
}

/// Looks both up; `None` without a user, or where a problem was told.
pub(super) fn look_up(
    user: Option<Placed<String>>,
    group: Option<Placed<String>>,
    problems: &mut Vec<Problem>,
) -> Option<UserConfig> {
    let Some(user) = user else {
        if let Some(group) = group {
            let fault = Fault::Needs { key: "group", other: "user" };
            problems.push(Problem::new(group.place, fault).expected("a user who is in it"));
        }
        return None;
    };
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let files = Files { users: read("/etc/passwd"), groups: read("/etc/group") };
    files.find(user, group).map_err(|problem| problems.push(problem)).ok()
}

struct Files {
    users: String,
    groups: String,
}

impl Files {
    fn find(&self, user: Placed<String>, group: Option<Placed<String>>) -> Result<UserConfig, Problem> {
        let unknown = |what, name: &Placed<String>| {
            Problem::new(name.place, Fault::Unknown { what, name: name.value.clone() })
        };
        // NAME:PASSWORD:UID:GID:… (passwd(5))
        let known = entry(&self.users, &user.value, 2);
        let number = |entry: &[&str], at: usize| entry.get(at)?.parse::<u32>().ok();
        let uid = known.as_ref().and_then(|entry| number(entry, 2)).or_else(|| user.value.parse().ok());
        let uid = uid.ok_or_else(|| unknown("user", &user))?;
        // NAME:PASSWORD:GID:MEMBERS (group(5))
        let gid = match &group {
            Some(group) => {
                let known = entry(&self.groups, &group.value, 2);
                let gid = known.and_then(|entry| number(&entry, 2)).or_else(|| group.value.parse().ok());
                gid.ok_or_else(|| unknown("group", group))?
            }
            None => {
                let own = known.as_ref().and_then(|entry| number(entry, 3));
                own.ok_or_else(|| {
                    let fault = Fault::Needs { key: "user", other: "group" };
                    Problem::new(user.place, fault).expected("its group, since /etc/passwd has no such user")
                })?
            }
        };
        for (number, name) in [(uid, Some(&user)), (gid, group.as_ref().or(Some(&user)))] {
            if let (0, Some(name)) = (number, name) {
                let problem = Problem::new(name.place, Fault::Superuser(name.value.clone()));
                return Err(problem.expected("somebody who isn't root"));
            }
        }
        let login = known.as_ref().and_then(|entry| entry.first().copied());
        let groups = login.map(|login| self.groups_of(login)).unwrap_or_default();
        let groups = groups.into_iter().filter(|group| *group != 0).chain([gid]);
        Ok(UserConfig {
            name: user.value,
            uid,
            gid,
            groups: groups.collect::<BTreeSet<_>>().into_iter().collect(),
        })
    }

    fn groups_of(&self, login: &str) -> Vec<u32> {
        let of = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = fields[..] else { return None };
            members.split(',').any(|member| member == login).then(|| gid.parse().ok()).flatten()
        };
        self.groups.lines().filter_map(of).collect()
    }
}

/// The line of a name, or of a number that stands in this column.
fn entry<'f>(file: &'f str, wanted: &str, column: usize) -> Option<Vec<&'f str>> {
    let lines = || file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines().find(|fields| fields.first() == Some(&wanted) && fields.len() > column);
    named.or_else(|| lines().find(|fields| fields.get(column) == Some(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::super::problem::Place;
    use super::*;

    fn found(user: &str, group: Option<&str>) -> Result<(u32, u32, Vec<u32>), String> {
        let files = Files {
            users: "root:x:0:0:root:/root:/bin/sh\nperihelion:x:990:991:P:/:/x\nodd:x:12:0::/:\n".into(),
            groups: "root:x:0:\nperihelion:x:991:\nssl-cert:x:110:other,perihelion\nadm:x:0:perihelion\n"
                .into(),
        };
        let placed = |value: &str| Placed { place: Place { line: 1, column: 1 }, value: value.to_owned() };
        let found = files.find(placed(user), group.map(placed));
        found.map(|user| (user.uid, user.gid, user.groups)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_user_is_found_by_name_or_number_with_the_groups_that_it_is_in() {
        assert_eq!(found("perihelion", None), Ok((990, 991, vec![110, 991])));
        assert_eq!(found("990", None), Ok((990, 991, vec![110, 991])));
        assert_eq!(found("perihelion", Some("ssl-cert")), Ok((990, 110, vec![110])));
        assert_eq!(found("4711", Some("4712")), Ok((4711, 4712, vec![4712])));
        for (user, group, said) in [
            ("nobody-knows", None, "there is no user `nobody-knows`"),
            ("perihelion", Some("cattle"), "there is no group `cattle`"),
            ("4711", None, "`user` means nothing without `group`"),
            ("root", None, "`root` may do everything"),
            ("0", Some("991"), "`0` may do everything"),
            ("odd", None, "`odd` may do everything"),
            ("perihelion", Some("root"), "`root` may do everything"),
        ] {
            assert!(found(user, group).is_err_and(|error| error.starts_with(said)), "{user} {group:?}");
        }
    }
}
