//! A name server of the test's.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// A name server that says of each name the texts that it has (and of `<name> A` the addresses), and of others that
/// there are none; of what is below `quiet.example` it says nothing at all.
pub struct Names {
    /// Where it is asked.
    pub at: SocketAddr,
    told: Sender<(String, Vec<String>)>,
}

impl Names {
    /// Starts one that knows nothing.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let at = socket.local_addr().expect("its address");
        let (told, news) = channel();
        thread::spawn(move || {
            let (mut known, mut room) = (HashMap::new(), [0; 512]);
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                known.extend(news.try_iter());
                if let Some(answer) = answer(&room[..length], &known) {
                    socket.send_to(&answer, from).expect("it is sent");
                }
            }
        });
        Self { at, told }
    }

    /// From now on it says this of a name.
    pub fn say(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.told.send((name.to_owned(), texts)).expect("it runs");
    }
}

/// The question again, with a record for each text (RFC 1035, 4).
fn answer(question: &[u8], known: &HashMap<String, Vec<String>>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).expect("text"));
        at = end;
    }
    let (name, kind) = (labels.join("."), question[at + 2]);
    if name.ends_with("quiet.example") {
        return None;
    }
    let records: Vec<Vec<u8>> = match kind {
        16 => {
            let texts = known.get(&name).into_iter().flatten();
            texts
                .map(|text| {
                    [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat()
                })
                .collect()
        }
        1 => {
            let addresses = known.get(&format!("{name} A")).into_iter().flatten();
            addresses
                .map(|it| it.parse::<Ipv4Addr>().expect("an address").octets().to_vec())
                .collect()
        }
        _ => Vec::new(),
    };
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    if records.is_empty() {
        answer[3] |= 3;
    }
    answer[7] = u8::try_from(records.len()).expect("it is short");
    for record in records {
        let length = u8::try_from(record.len()).expect("it is short");
        answer.extend([0xc0, 0x0c, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        answer.extend(record);
    }
    Some(answer)
}

/// What the page says that the record of this domain has to say.
pub fn wanted(page: &str, host: &str) -> String {
    let row = page.split(&format!("<th scope=\"row\">{host}</th>")).nth(1).expect("the row");
    assert!(row.contains(&format!("<code>_pullgate.{host}</code>")), "{row}");
    let at = row.find("pullgate-domain=").expect("the text");
    row[at..].split('<').next().expect("text").to_owned()
}
