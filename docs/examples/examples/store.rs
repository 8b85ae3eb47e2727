// ANCHOR: all
//! Users, in a slow store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct User {
    pub id: i64,
    pub name: String,
}

#[derive(Deserialize)]
pub struct NewUser {
    pub name: String,
}

#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<HashMap<i64, User>>>);

impl Store {
    pub async fn find(&self, id: i64) -> Option<User> {
        println!("reading user {id}");
        let user = self.0.lock().unwrap().get(&id).cloned();
        slow().await;
        user
    }

    pub async fn create(&self, new: NewUser) -> User {
        let mut users = self.0.lock().unwrap();
        let id = users.len() as i64 + 1;
        let user = User { id, name: new.name };
        users.insert(id, user.clone());
        user
    }

    pub async fn update(&self, id: i64, new: NewUser) -> Option<User> {
        println!("updating user {id}");
        slow().await;
        let mut users = self.0.lock().unwrap();
        let user = users.get_mut(&id)?;
        user.name = new.name;
        Some(user.clone())
    }
}

async fn slow() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}
// ANCHOR_END: all
