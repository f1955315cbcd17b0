//! Programs and their connections: dial, log in, ask, hear, lose the line, come back.

use std::time::Duration;

use portolan_peer::RequestError;
use portolan_protocol::{
    ClosingReason, Command, ErrorBody, ErrorCode, Event, Hello, Limits as MessageLimits, Login,
    LoginAttempt, Password, ReceiptState, Reply, RequestId,
};

use portolan_server::close_code;
use portolan_transport::CloseCode;

use crate::{
    line::{Down, Line, LineId},
    person::{Ask, AskKind, Program, Stage, check_receipt},
    repeat::{Repetition, repetition, settle},
    truth::Answer,
    world::{Happening, World, tell, user_name},
};

impl World<'_> {
    pub(crate) fn on_start(&mut self, user: usize) {
        if self.people[user].program.is_some() {
            return;
        }
        let person = &mut self.people[user];
        person.processes += 1;
        person.program = Some(Program::new(person.processes));
        tell!(self, "user{user} starts process {}", self.people[user].processes);
        self.dial(user);
    }

    fn dial(&mut self, user: usize) {
        let registry = self.chance.below(3);
        let delay = self.chance.within(1..=120);
        let line = Line::new(user, self.people[user].key, registry, delay);
        self.last_line += 1;
        let id = LineId(self.last_line);
        self.lines.insert(id, line);
        let is_away = self.people[user].away_until > self.now;
        if let Some(program) = &mut self.people[user].program {
            program.line = Some(id);
            program.stage = Stage::Dialling;
            program.unread.clear();
        }
        if is_away {
            let gives_up = self.chance.within(1..=5_000);
            self.cut(id);
            return self.after(gives_up, Happening::ClientLearns(id));
        }
        self.after(delay, Happening::Dialled(id));
    }

    /// Nothing comes through any more; the server notices some time.
    pub(crate) fn cut(&mut self, id: LineId) {
        let learns = self.chance.within(0..=20_000);
        if let Some(line) = self.lines.get_mut(&id) {
            line.is_cut = true;
            self.after(learns, Happening::ServerLearns(id));
        }
    }

    /// The program lets its connection go.
    fn hang_up(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if std::mem::replace(&mut line.client_left, true) || line.is_cut {
            return;
        }
        let when = line.next_up(self.now);
        self.at(when, Happening::ServerLearns(id));
    }

    pub(crate) fn on_client_learns(&mut self, id: LineId) {
        self.hang_up(id);
        let Some(line) = self.lines.get(&id) else { return };
        let user = line.user;
        self.lines.retain(|_, line| !line.is_over());
        if self.people[user].program.as_ref().is_some_and(|program| program.line == Some(id)) {
            tell!(self, "user{user} has lost the connection");
            self.tally.lost_lines += 1;
            self.lose(user);
        }
    }

    /// What was asked and not answered is kept or not; the program waits and comes back.
    pub(crate) fn lose(&mut self, user: usize) {
        let now = self.now;
        let random = self.chance.number();
        let Some(program) = &mut self.people[user].program else { return };
        let line = program.line.take();
        let lasted = now - program.logged_in_at;
        if program.stage == Stage::In {
            program.waits.on_session(Duration::from_millis(lasted));
        }
        for (_, ask) in std::mem::take(&mut program.pending) {
            keep(program, ask);
        }
        program.talking.clear();
        program.asking.clear();
        program.unread.clear();
        let (process, is_over) = (program.process, program.is_sent_away || program.is_leaving);
        let wait = program.waits.next(random, program.rest.take()).as_millis() as u64;
        if let Some(line) = line {
            self.hang_up(line);
        }
        match is_over {
            true => self.end(user),
            false => self.after(wait, Happening::Redials { user, process }),
        }
    }

    /// The program ends; its user starts it again some time.
    pub(crate) fn end(&mut self, user: usize) {
        let line = self.people[user].program.take().and_then(|program| program.line);
        if let Some(line) = line {
            self.hang_up(line);
        }
        let again = self.chance.within(100..=8_000);
        self.after(again, Happening::Starts { user });
    }

    pub(crate) fn on_redial(&mut self, user: usize, process: u64) {
        let program = self.people[user].program.as_ref();
        if program.is_some_and(|program| program.process == process && program.line.is_none()) {
            self.dial(user);
        }
    }

    /// The application asks, also while there is no connection.
    pub(crate) fn ask(&mut self, user: usize, command: impl Into<Command>) {
        let kind = AskKind::Application { is_repeated: false };
        let ask = Ask { command: command.into(), kind };
        let Some(program) = &mut self.people[user].program else { return };
        match program.stage {
            Stage::In if program.line.is_some() => self.send_up(user, ask),
            _ if program.carried.len() < 20 => program.carried.push_back(ask),
            _ => {}
        }
    }

    fn send_up(&mut self, user: usize, ask: Ask) {
        let now = self.now;
        let Some(program) = &mut self.people[user].program else { return };
        let id = RequestId(program.next_id);
        program.next_id += 1;
        let command = Box::new(ask.command.clone());
        program.pending.insert(id, ask);
        let Some(line) = program.line.and_then(|line| self.lines.get_mut(&line)) else { return };
        let Some(line_id) = program.line.filter(|_| !line.is_cut) else { return };
        let when = line.next_up(now);
        self.at(when, Happening::Arrives(line_id, id, command));
    }

    pub(crate) fn on_frame(&mut self, id: LineId, frame: Down) {
        let Some(line) = self.lines.get(&id).filter(|line| !line.is_cut && !line.client_left)
        else {
            return;
        };
        let user = line.user;
        let Some(program) = &mut self.people[user].program else { return };
        if program.line != Some(id) {
            return;
        }
        if !program.reads && !matches!(frame, Down::Closed(_)) {
            return program.unread.push_back(frame);
        }
        self.read(user, id, frame);
    }

    pub(crate) fn on_reading(&mut self, user: usize, process: u64) {
        let Some(program) = &mut self.people[user].program else { return };
        if program.process != process {
            return;
        }
        program.reads = true;
        let line = program.line;
        while let Some(program) = &mut self.people[user].program
            && program.line == line
            && let Some(frame) = program.unread.pop_front()
            && let Some(line) = line
        {
            self.read(user, line, frame);
        }
    }

    fn read(&mut self, user: usize, id: LineId, frame: Down) {
        self.on_frame_read(id);
        match frame {
            Down::Opened => self.greet(user),
            Down::Answer(request, answer) => self.on_reply(user, request, answer),
            Down::Event(event) => self.on_event(user, event),
            Down::Closed(code) => self.on_close_code(user, id, code),
        }
        self.confirm(user);
    }

    /// The code says the same as the last words, which may be lost.
    fn on_close_code(&mut self, user: usize, id: LineId, code: CloseCode) {
        let for_good =
            [close_code::PROTOCOL, close_code::ABUSE, close_code::REPLACED, close_code::KICKED];
        if let Some(program) = &mut self.people[user].program {
            program.is_sent_away |= for_good.contains(&code);
        }
        self.on_client_learns(id);
    }

    fn greet(&mut self, user: usize) {
        let Some(program) = &mut self.people[user].program else { return };
        program.stage = Stage::Greeting;
        let hello = Hello { versions: vec![1], features: Vec::new(), software: "sim".into() };
        self.send_up(user, Ask { command: hello.into(), kind: AskKind::Opening });
    }

    fn log_in(&mut self, user: usize) {
        let person = &mut self.people[user];
        let password = person.is_moving.then(|| password_of(user));
        let Some(program) = &mut person.program else { return };
        program.stage = Stage::LoggingIn;
        program.attempts += 1;
        let client = program.process << 8 | user as u64;
        let attempt = Some(LoginAttempt { client, number: program.attempts });
        let login = Login { name: user_name(user).to_string(), password, device: None, attempt };
        self.send_up(user, Ask { command: login.into(), kind: AskKind::Opening });
    }

    fn on_reply(&mut self, user: usize, request: RequestId, answer: Answer) {
        let Some(program) = &mut self.people[user].program else { return };
        let Some(ask) = program.pending.remove(&request) else {
            panic!("an answer to no request, or a second one")
        };
        match ask.kind {
            AskKind::Opening => self.on_opening(user, answer),
            AskKind::Receipt => self.on_receipt_taken(user, &ask.command, &answer),
            AskKind::Application { is_repeated } => {
                self.tally.repeats += u64::from(is_repeated);
                self.on_application_answer(user, &ask.command, is_repeated, answer);
            }
        }
    }

    fn on_opening(&mut self, user: usize, answer: Answer) {
        match answer {
            Ok(Reply::Welcome(_)) => self.log_in(user),
            Ok(Reply::LoggedIn(_)) => self.on_logged_in(user),
            Ok(other) => panic!("no answer to a login: {other:?}"),
            Err(error) => self.on_login_refused(user, &error),
        }
    }

    fn on_logged_in(&mut self, user: usize) {
        let person = &mut self.people[user];
        person.is_moving = false;
        let Some(program) = &mut person.program else { return };
        program.stage = Stage::In;
        program.logged_in_at = self.now;
        for ask in std::mem::take(&mut program.carried) {
            self.send_up(user, ask);
        }
    }

    /// Nobody is refused who proves that the name is theirs.
    fn on_login_refused(&mut self, user: usize, error: &ErrorBody) {
        let is_banned = error.code == ErrorCode::Banned;
        let may_be = [
            ErrorCode::Conflict,
            ErrorCode::Internal,
            ErrorCode::ShuttingDown,
            ErrorCode::NotLoggedIn,
            ErrorCode::RateLimited,
        ];
        assert!(is_banned || may_be.contains(&error.code), "user{user} is refused: {error:?}");
        if let Some(program) = &mut self.people[user].program {
            program.is_sent_away = is_banned;
        }
        self.lose(user);
    }

    fn on_receipt_taken(&mut self, user: usize, command: &Command, answer: &Answer) {
        let Command::Receipts(receipts) = command else { return };
        if answer.is_ok() && receipts.state == ReceiptState::Delivered {
            self.people[user].confirmed.extend(&receipts.ids);
        }
    }

    fn on_application_answer(
        &mut self,
        user: usize,
        command: &Command,
        is_repeated: bool,
        answer: Answer,
    ) {
        let Some(program) = &mut self.people[user].program else { return };
        let settled = match answer {
            Err(error) if is_repeated => {
                settle(command, error, &program.talking, &Program::silence())
            }
            answer => answer.map_err(RequestError::Refused),
        };
        match (command, settled) {
            (Command::Send(send), Ok(Reply::Sent(sent))) => {
                self.truth.check_promise(user, send, sent.id);
            }
            (Command::SetPassword(_), Ok(_)) => self.people[user].has_password = true,
            (Command::Logout(_), Ok(_)) => program.is_leaving = true,
            (_, Ok(_) | Err(_)) => {}
        }
    }

    fn on_event(&mut self, user: usize, event: Event) {
        match event {
            Event::Message(delivery) => {
                let is_first = self.people[user].hear(&delivery, &self.truth);
                self.tally.heard += u64::from(is_first);
            }
            Event::Receipt(receipt) => check_receipt(&self.people, &receipt),
            Event::Conversation(news) => {
                if let Some(program) = &mut self.people[user].program {
                    program.on_conversation(&news);
                }
            }
            Event::Closing(closing) => {
                tell!(self, "user{user} is sent away: {:?}", closing.why);
                self.tally.replaced_late += u64::from(closing.why == ClosingReason::Replaced);
                let Some(program) = &mut self.people[user].program else { return };
                let rest = closing.reconnect_after_ms;
                program.rest = rest.map(|ms| Duration::from_millis(u64::from(ms)));
                program.is_sent_away |=
                    !matches!(closing.why, ClosingReason::Shutdown | ClosingReason::TooSlow);
                self.lose(user);
            }
            Event::Presence(_)
            | Event::Settings(_)
            | Event::Group(_)
            | Event::Candidates(_)
            | Event::Announcement(_) => {}
        }
    }

    /// The library tells the server what the application has.
    fn confirm(&mut self, user: usize) {
        let max = MessageLimits::V1.receipts as usize;
        loop {
            let Some(program) = &mut self.people[user].program else { return };
            if program.stage != Stage::In || program.line.is_none() {
                return;
            }
            let Some(receipts) = program.inbox.poll_receipt(max) else { return };
            self.send_up(user, Ask { command: receipts.into(), kind: AskKind::Receipt });
        }
    }
}

/// Decides what becomes of a request without an answer.
fn keep(program: &mut Program, ask: Ask) {
    match (ask.kind, ask.command) {
        (AskKind::Application { .. }, command) => match repetition(&command) {
            Repetition::Again { .. } => {
                let kind = AskKind::Application { is_repeated: true };
                program.carried.push_back(Ask { command, kind });
            }
            Repetition::Never => {}
        },
        (AskKind::Receipt, Command::Receipts(receipts)) => {
            receipts.ids.into_iter().for_each(|id| program.inbox.confirm(id));
        }
        (AskKind::Receipt | AskKind::Opening, _) => {}
    }
}

pub(crate) fn password_of(user: usize) -> Password {
    Password(format!("secret of user{user}"))
}
