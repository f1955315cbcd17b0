-- Argon2id with salt and parameters, in PHC form; nothing: the name belongs to its key alone.
ALTER TABLE users ADD COLUMN password TEXT;
