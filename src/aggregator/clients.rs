//! Which client program a user agent is: read once, then remembered by the whole text.

use std::collections::HashMap;

use crate::aggregator::known::Known;
use crate::pure::client::{Client, ClientTable};
use crate::pure::limits::{AGENTS_MAX, CLIENTS_MAX};

/// The client programs seen in this run. Number 0 stands for all beyond the bound.
pub struct Clients {
    table: ClientTable,
    by_agent: Known,
    by_client: HashMap<String, u32>,
    clients: Vec<Client>,
    /// The one identified last, where it had no room for its version.
    unnumbered: Option<Client>,
}

impl Clients {
    /// None was seen yet.
    pub fn new(table: ClientTable) -> Self {
        let nobody = |text: &str| Client {
            family: text.to_owned(),
            version: String::new(),
            os: text.to_owned(),
            arch: text.to_owned(),
        };
        Self {
            table,
            by_agent: Known::default(),
            by_client: HashMap::new(),
            clients: vec![nobody(OTHER)],
            unnumbered: None,
        }
    }

    /// Those that another process has [listed](Clients::list), under the same numbers.
    pub fn restored(table: ClientTable, list: Vec<Client>) -> Self {
        let mut clients = Self::new(table);
        for client in list.into_iter().skip(1) {
            clients.number(&client, usize::MAX);
        }
        clients
    }

    /// What user agents are read by.
    pub fn table(&self) -> &ClientTable {
        &self.table
    }

    /// All of them, by their number.
    pub fn list(&self) -> &[Client] {
        &self.clients
    }

    /// Reads user agents by another table from now on.
    pub fn set_table(&mut self, table: ClientTable) {
        self.table = table;
        self.by_agent.clear();
    }

    /// The client's number. Allocates nothing for a user agent that is known. When there is no room
    /// for new ones, the version is let go: families and systems are a closed set, so that nobody
    /// who invents versions takes them from others.
    pub fn identify(&mut self, user_agent: &[u8]) -> u32 {
        self.unnumbered = None;
        let print = self.by_agent.print(0, user_agent);
        if let Some(number) = self.by_agent.get(print) {
            return number;
        }
        let client = self.table.classify(user_agent);
        if let Some(number) = self.number(&client, CLIENTS_MAX) {
            if self.by_agent.count() >= AGENTS_MAX {
                self.by_agent.clear();
            }
            self.by_agent.insert(print, number);
            return number;
        }
        let versionless = Client { version: String::new(), ..client.clone() };
        self.unnumbered = Some(client);
        self.number(&versionless, 2 * CLIENTS_MAX).unwrap_or(0)
    }

    /// The client's number, a new one where there are fewer than `clients_max`.
    fn number(&mut self, client: &Client, clients_max: usize) -> Option<u32> {
        let Client { family, version, os, arch } = client;
        let text = format!("{family}\n{version}\n{os}\n{arch}");
        if let Some(number) = self.by_client.get(&text) {
            return Some(*number);
        }
        let number = u32::try_from(self.clients.len()).ok()?;
        (self.clients.len() < clients_max).then(|| {
            self.by_client.insert(text, number);
            self.clients.push(client.clone());
            number
        })
    }

    /// The client that was identified last, whose number this is: itself also beyond the bound.
    pub fn identified(&self, number: u32) -> &Client {
        self.unnumbered.as_ref().unwrap_or_else(|| self.get(number))
    }

    /// The client of that number, as it is counted.
    pub fn get(&self, number: u32) -> &Client {
        self.clients.get(number as usize).unwrap_or(&self.clients[0])
    }
}

/// The row of everything beyond a bound.
pub const OTHER: &str = "(other)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_versions_take_no_family_from_anybody() {
        let mut clients = Clients::new(ClientTable::built_in());
        for number in 0..CLIENTS_MAX + 10 {
            clients.identify(format!("docker/1.{number}.0 os/linux arch/amd64").as_bytes());
        }
        let number = clients.identify(b"skopeo/1.18.0");
        assert_eq!(clients.get(number).family, "skopeo");
        assert_eq!(clients.get(number).version, "");
        assert_eq!(clients.identified(number).version, "1.18.0");
        assert_eq!(clients.identify(b"skopeo/1.19.0"), number);
    }
}
