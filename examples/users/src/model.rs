//! Users and their validation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": 1, "name": "Ann", "email": "ann@example.com"}))]
pub struct User {
    /// The id, given by the database.
    pub id: i64,
    /// The name, 1 to 100 characters.
    pub name: String,
    /// The email address, up to 254 characters, with one `@` inside.
    pub email: String,
}

/// An id in a path, with exactly one spelling. If `01` also meant user 1, routes that cache or lock
/// by the text of the path would treat one user as two: an update of `1` would not reset the entry
/// of `01`, and could run at the same time as an update of `01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(pub i64);

impl FromStr for UserId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse::<i64>() {
            Ok(id) if id.to_string() == text => Ok(Self(id)),
            _ => Err(Invalid("user_id: expected a whole number, as in `7`")),
        }
    }
}

impl TryFrom<String> for UserId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

/// The fields of a create or update request, which are always valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Unchecked")]
#[schema(example = json!({"name": "Ann", "email": "ann@example.com"}))]
pub struct NewUser {
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: String,
    #[schema(max_length = 254, format = Email)]
    email: String,
}

impl NewUser {
    /// Trims both fields and checks them.
    ///
    /// # Errors
    ///
    /// [`Invalid`] names the first invalid field.
    pub fn new(name: &str, email: &str) -> Result<Self, Invalid> {
        // Spaces count towards the limits, since clients read these in the OpenAPI document.
        if name.trim().is_empty() || name.chars().count() > 100 {
            return Err(Invalid("name: expected 1 to 100 characters"));
        }
        let (name, email) = (name.trim(), email.trim());
        let (local, domain) = email
            .split_once('@')
            .ok_or(Invalid("email: expected an `@`"))?;
        if local.is_empty()
            || domain.is_empty()
            || domain.contains('@')
            || email.chars().count() > 254
        {
            return Err(Invalid(
                "email: expected something like `ann@example.com`, up to 254 characters",
            ));
        }
        if email.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Invalid("email: expected no blanks or control characters"));
        }
        Ok(Self {
            name: name.to_owned(),
            email: email.to_owned(),
        })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the email address.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Returns the user with these fields and an id.
    pub fn with_id(&self, id: i64) -> User {
        User {
            id,
            name: self.name.clone(),
            email: self.email.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Unchecked {
    name: String,
    email: String,
}

impl TryFrom<Unchecked> for NewUser {
    type Error = Invalid;

    fn try_from(new: Unchecked) -> Result<Self, Invalid> {
        Self::new(&new.name, &new.email)
    }
}

/// The error for an invalid part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(&'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::{NewUser, UserId};

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!("7".parse(), Ok(UserId(7)));
        assert_eq!("-7".parse(), Ok(UserId(-7)));
        for text in ["", "07", "+7", "-0", " 7", "7.0", "99999999999999999999"] {
            assert!(text.parse::<UserId>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_valid_users_exist() {
        let long = "x".repeat(101);
        for (name, email, field) in [
            ("", "ann@example.com", "name"),
            (" ", "ann@example.com", "name"),
            (long.as_str(), "ann@example.com", "name"),
            ("Ann", "", "email"),
            ("Ann", "ann", "email"),
            ("Ann", "@example.com", "email"),
            ("Ann", "ann@", "email"),
            ("Ann", "ann@example@com", "email"),
            ("Ann", "an n@example.com", "email"),
        ] {
            let json = serde_json::json!({"name": name, "email": email}).to_string();
            match serde_json::from_str::<NewUser>(&json) {
                Ok(user) => panic!("{user:?} should not exist"),
                Err(error) => assert!(error.to_string().starts_with(field), "{error}"),
            }
        }
    }

    #[test]
    fn blanks_around_do_not_count() {
        let user = NewUser::new(" Ann ", " ann@example.com\n");
        assert_eq!(user, NewUser::new("Ann", "ann@example.com"));
        assert!(user.is_ok());
    }
}
