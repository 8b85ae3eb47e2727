use super::Key;
use super::template::KeyTemplate;

/// A type that makes a key from its fields. Derive it.
///
/// # Examples
///
/// ```
/// use cachify_core::CacheKey;
///
/// #[derive(CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// assert_eq!(UpdateUser { user_id: 7 }.key().as_str(), "update-user-7");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `CacheKey`",
    note = "derive it: `#[derive(CacheKey)] #[key(\"user-{{user_id}}\")]`"
)]
pub trait CacheKey {
    /// Returns the key of this value.
    fn key(&self) -> Key;

    /// Returns the template of all keys of this type.
    fn template() -> &'static KeyTemplate;
}
