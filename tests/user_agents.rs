//! Real user agents, and what is made of them.
//!
//! They are in `user_agents.txt`, which says where each is from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use pullgate::pure::client::{Client, ClientTable};

const USER_AGENTS: &str = include_str!("user_agents.txt");

#[test]
fn user_agents_and_their_clients() {
    let table = ClientTable::built_in();
    let cases = USER_AGENTS.lines().filter_map(|line| line.split_once("  ⇒  "));
    let wrong: Vec<String> = cases
        .map(|(user_agent, expected)| (user_agent, expected, told(&table, user_agent)))
        .filter(|(_, expected, told)| expected != told)
        .map(|(user_agent, expected, told)| format!("{user_agent}\n  ⇒  {expected}, not {told}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where it is from stands above each, also above several of one source.
#[test]
fn every_user_agent_says_where_it_is_from() {
    let mut is_told = false;
    for line in USER_AGENTS.lines() {
        match line.split_once("  ⇒  ") {
            Some(_) => assert!(is_told, "{line}: where from?"),
            None => is_told = line.starts_with("# ") && !line.starts_with("# ----"),
        }
    }
}

/// A rule that no real user agent shows to be right is not known to be so.
#[test]
fn every_entry_of_the_table_decides_a_user_agent() {
    let table = ClientTable::built_in();
    let cases = USER_AGENTS.lines().filter_map(|line| line.split_once("  ⇒  "));
    let deciding: Vec<_> =
        cases.filter_map(|(user_agent, _)| table.deciding_line(user_agent.as_bytes())).collect();
    let untried: Vec<_> = table.lines().filter(|line| !deciding.contains(line)).collect();
    assert!(untried.is_empty(), "config/clients.toml, lines {untried:?}: no user agent shows them");
    assert!(deciding.len() >= 150, "{}", deciding.len());
}

#[test]
fn kernels_and_commits_are_never_kept() {
    let table = ClientTable::built_in();
    for (user_agent, _) in USER_AGENTS.lines().filter_map(|line| line.split_once("  ⇒  ")) {
        let client = format!("{:?}", table.classify(user_agent.as_bytes()));
        for word in user_agent.split(' ') {
            let machine = word.strip_prefix("kernel/").or_else(|| word.strip_prefix("git-commit/"));
            assert!(machine.is_none_or(|machine| !client.contains(machine)), "{client}");
        }
    }
}

/// `family version os/arch`, with `-` for what is not known, and nothing at the end for that.
fn told(table: &ClientTable, user_agent: &str) -> String {
    let Client { family, version, os, arch } = table.classify(user_agent.as_bytes());
    let or_dash = |text: &str| {
        if text.is_empty() { "-".to_owned() } else { text.to_owned() }
    };
    let mut told = vec![family, or_dash(&version), format!("{}/{}", or_dash(&os), or_dash(&arch))];
    while told.last().is_some_and(|last| matches!(last.as_str(), "-" | "-/-")) {
        told.pop();
    }
    told.join(" ")
}
