//! Which client program a user agent is: read once, then remembered by the whole text.

use std::collections::HashMap;

use crate::pure::client::{Client, ClientTable};
use crate::pure::limits::{AGENTS_MAX, CLIENTS_MAX};

/// The client programs seen in this run. Number 0 stands for all beyond the bound.
pub struct Clients {
    table: ClientTable,
    by_agent: HashMap<Box<[u8]>, u32>,
    by_client: HashMap<String, u32>,
    clients: Vec<Client>,
    /// The last one that had no room.
    unnumbered: Client,
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
            by_agent: HashMap::new(),
            by_client: HashMap::new(),
            clients: vec![nobody(OTHER)],
            unnumbered: nobody(OTHER),
        }
    }

    /// Reads user agents by another table from now on.
    pub fn set_table(&mut self, table: ClientTable) {
        self.table = table;
        self.by_agent.clear();
    }

    /// The client's number. Allocates nothing for a user agent that is known.
    pub fn identify(&mut self, user_agent: &[u8]) -> u32 {
        if let Some(number) = self.by_agent.get(user_agent).copied() {
            return number;
        }
        let client = self.table.classify(user_agent);
        let Client { family, version, os, arch } = &client;
        let text = format!("{family}\n{version}\n{os}\n{arch}");
        let number = match self.by_client.get(&text).copied() {
            Some(number) => number,
            None if self.clients.len() >= CLIENTS_MAX => {
                self.unnumbered = client;
                return 0;
            }
            None => {
                let number = u32::try_from(self.clients.len()).unwrap_or(0);
                self.by_client.insert(text, number);
                self.clients.push(client);
                number
            }
        };
        if self.by_agent.len() >= AGENTS_MAX {
            self.by_agent.clear();
        }
        self.by_agent.insert(user_agent.into(), number);
        number
    }

    /// The client that was identified last, whose number this is: itself also beyond the bound.
    pub fn identified(&self, number: u32) -> &Client {
        if number == 0 { &self.unnumbered } else { self.get(number) }
    }

    /// The client of that number, as it is counted.
    pub fn get(&self, number: u32) -> &Client {
        self.clients.get(number as usize).unwrap_or(&self.clients[0])
    }
}

/// The row of everything beyond a bound.
pub const OTHER: &str = "(other)";
